"""A Kimai on this machine: its version, environment and files, without Docker."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

from sidecar.errors import ConfigurationError
from sidecar.kimai import console as asked
from sidecar.kimai.beneath import exact_path, read_small, small_files
from sidecar.kimai.code import local_newest_migration, local_plugins
from sidecar.kimai.environment import AppSecret, app_secret, effective_environment
from sidecar.kimai.files import survey
from sidecar.kimai.instance import Remark
from sidecar.kimai.local import LocalConsole, git_revision, version_file
from sidecar.kimai.lost import Compared, compare_local
from sidecar.kimai.places import Places
from sidecar.kimai.recovery import Leftover, finish, leftovers, recover
from sidecar.kimai.staging import Staging, empty_cache
from sidecar.kimai.survey import Survey
from sidecar.kimai.target import Rest
from sidecar.kimai.userdata import user_data
from sidecar.kimai.writable import check_cache, check_writable
from sidecar.manifest import File, Kimai, Manifest, Plugin

log = logging.getLogger(__name__)


class BareMetal:
    """The Kimai below `root`. `exclude`: folders that aren't Kimai's, such as a target for backups inside it.

    `environment` is added to that of its console, for a DATABASE_URL that isn't Kimai's own.
    """

    def __init__(
        self,
        root: Path,
        escape: Callable[[bytes], str],
        exclude: Iterable[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.console = LocalConsole(root, environment=environment)
        self.root = root
        self._escape = escape
        self._exclude = tuple(exclude)

    def identify(self) -> Kimai:
        """Version and revision. Raises `Unreachable` where neither console nor version.txt tells the version."""
        version, source = asked.read_version(self.console, self.version_file())
        return Kimai(version=version, version_source=source, git_revision=git_revision(self.root))

    def version_file(self) -> str | None:
        """The text of `version.txt`; None where there is none."""
        return version_file(self.root)

    def environment(self) -> dict[str, str]:
        """Kimai's variables as its `.env` files set them; none, with a warning, where those can't be read."""
        try:
            return effective_environment(small_files(self.root))
        except ConfigurationError as error:
            log.warning("Kimai's environment is not in the backup: %s", error)
            return {}

    def plugins(self) -> list[Plugin] | None:
        """The plugins that it loads; None, with a warning, where they can't be read."""
        return local_plugins(self.root, small_files(self.root))

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from; the web server's own environment can't be seen from here."""
        return app_secret(small_files(self.root), self.environment(), process={}, by_image=False)

    def survey(self, previous_paths: Sequence[str] = (), previous_missing: Sequence[str] = ()) -> Survey:
        """All of the instance's files."""
        return survey(
            self.root,
            escape=self._escape,
            exclude=self._exclude,
            previous_paths=previous_paths,
            previous_missing=previous_missing,
        )

    def own_database_url(self) -> str | None:
        """The DATABASE_URL of its own `.env` files; None where they name none, or there are none."""
        return effective_environment(small_files(self.root)).get("DATABASE_URL") if self.root.is_dir() else None

    def remarks(self) -> list[Remark]:
        """Whether a restore could write to it."""
        if os.access(self.root, os.W_OK | os.X_OK):
            return [Remark("files for a restore", f"{self.root} can be written to")]
        seen = f"{self.root} can not be written to"
        return [Remark("files for a restore", seen, "A restore needs root, or Kimai's own user.")]

    # ── What a restore asks ──────────────────────────────────────────────────────────────────────────────────

    def read(self, path: str) -> bytes | None:
        """One of its settings files."""
        return read_small(self.root / path)

    def newest_migration(self) -> str | None:
        """The newest migration that its code knows; None where that can't be seen."""
        return local_newest_migration(self.root)

    def keeps(self, path: str) -> bool:  # noqa: ARG002 - it is so for every folder
        """No: what is there is set aside as a whole."""
        return False

    def owner(self) -> tuple[int, int]:
        """User and group of `var/`, which is what Kimai writes to."""
        status = next(folder for folder in (self.root / "var", self.root) if folder.is_dir()).stat()
        return status.st_uid, status.st_gid

    def mounted_files(self, files: Sequence[File], also: Sequence[str]) -> set[bytes]:
        """Those of the backup's files whose place is a mount of its own."""
        mounted = Places(self.root, self._paths(also)).mounted_files
        return {exact_path(file) for file in files} & mounted

    def open(self, path: bytes) -> IO[bytes]:
        """A file of it, to compare."""
        return (self.root / os.fsdecode(path)).open("rb")

    def check(self, files: Sequence[File], also: Sequence[str]) -> list[str]:
        """Raise `Refused` unless all the files can be put in place."""
        check_writable(self.root, files, self._paths(also))
        return [f"{self.root} can be written to, with room for all files"]

    def compare(self, files: Sequence[File], also: Sequence[str]) -> Compared:  # noqa: ARG002 - all lie here
        """Which of these files are lost."""
        compared = Compared()
        compare_local(self.root, files, compared)
        return compared

    def staging(
        self, run_id: str, also: Sequence[str], keep_beside: dict[str, str], lost: Sequence[File] = ()
    ) -> Staging:
        """A staging area below the root itself."""
        return Staging(self.root, run_id, also=also, keep_beside=keep_beside, protect=self._exclude, lost=lost)

    def leftovers(self) -> list[Leftover]:
        """What restores that were killed left of their files."""
        return leftovers(self.root) if self.root.is_dir() else []

    def recover(self, run_id: str) -> list[str]:
        """Put back what one of them set aside, all of it, and delete its folders."""
        recover(self.root, run_id)
        return []

    def finish(self, run_id: str) -> None:
        """Keep for good what one of them has put in place, and delete what it set aside."""
        finish(self.root, run_id)

    def check_cache(self) -> None:
        """Raise `Refused` where the cache could not be emptied."""
        check_cache(self.root)

    def empty_cache(self) -> None:
        """Delete all that is in the cache."""
        empty_cache(self.root)

    @property
    def mirrors_secret(self) -> bool:
        """No start of it writes anything."""
        return False

    @property
    def shares_network(self) -> bool:
        """It runs on this machine."""
        return True

    @property
    def runs(self) -> bool:
        """A web server may run it at any time."""
        return True

    @property
    def can_rest(self) -> bool:
        """No: its web server, and what cron runs of it, are the admin's to stop."""
        return False

    def at_rest(self, *, was_running: bool, half: bool = False) -> AbstractContextManager[Rest]:  # noqa: ARG002 - as it says
        """Nothing: a web server is the admin's own to stop, and Kimai runs in no process of its own."""
        return nullcontext(_Unstopped())

    def effects(self, _manifest: Manifest | None, /) -> list[str]:
        """None: no start of it does anything by itself."""
        return []

    def _paths(self, also: Iterable[str]) -> set[str]:
        return {*user_data(self.root).paths, *also}


class _Unstopped:
    """What can't be stopped from here goes on."""

    is_wanted = True

    def start(self, *, migrating: bool = False) -> None:
        """It runs."""

    def stop(self) -> None:
        """It goes on."""
