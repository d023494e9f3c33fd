"""A Kimai on this machine: its version, environment and files, without Docker."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sidecar.errors import ConfigurationError
from sidecar.kimai import console as asked
from sidecar.kimai.environment import AppSecret, app_secret, effective_environment
from sidecar.kimai.files import Survey, survey
from sidecar.kimai.local import LocalConsole, git_revision, version_file
from sidecar.manifest import Kimai

log = logging.getLogger(__name__)


class BareMetal:
    """The Kimai below `root`. `exclude`: folders that aren't Kimai's, such as a target for backups inside it."""

    def __init__(
        self, root: Path, console: LocalConsole, escape: Callable[[bytes], str], exclude: Iterable[Path] = ()
    ) -> None:
        self._root = root
        self._console = console
        self._escape = escape
        self._exclude = tuple(exclude)

    def identify(self) -> Kimai:
        """Version and revision. Raises `Unreachable` where neither console nor version.txt tells the version."""
        version, source = asked.read_version(self._console, version_file(self._root))
        return Kimai(version=version, version_source=source, git_revision=git_revision(self._root))

    def environment(self) -> dict[str, str]:
        """Kimai's variables as its `.env` files set them; none, with a warning, where those can't be read."""
        try:
            return effective_environment(self._root)
        except ConfigurationError as error:
            log.warning("Kimai's environment is not in the backup: %s", error)
            return {}

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from; the web server's own environment can't be seen from here."""
        return app_secret(self._root, self.environment(), process={})

    def survey(self, previous_paths: Sequence[str] = (), previous_missing: Sequence[str] = ()) -> Survey:
        """All of the instance's files."""
        return survey(
            self._root,
            escape=self._escape,
            exclude=self._exclude,
            previous_paths=previous_paths,
            previous_missing=previous_missing,
        )


def own_database_url(root: Path) -> str | None:
    """The DATABASE_URL of Kimai's own `.env` files; None where they name none, or there are none."""
    return effective_environment(root).get("DATABASE_URL") if root.is_dir() else None
