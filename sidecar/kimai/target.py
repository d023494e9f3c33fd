"""What a restore asks of the Kimai that it restores into, wherever that one runs."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol, Self

from sidecar.kimai.aside import SetAside
from sidecar.kimai.console import Console
from sidecar.kimai.environment import AppSecret
from sidecar.kimai.lost import Compared
from sidecar.kimai.recovery import Leftover
from sidecar.manifest import File, Manifest, Plugin


class Exchange(Protocol):
    """Files on their way into place: `write` them all, `swap`, check, `settle`; leaving before that puts all back.

    `notes` tells, a sentence each, what was not restored as it was; `kept`: what the backup doesn't have, and stays;
    `stays`, a sentence each, what could not be taken away again when all was put back.
    """

    notes: list[str]
    kept: list[str]
    stays: list[str]

    def write(self, file: File, chunks: Iterable[bytes] = ()) -> None:
        """Stage one file, folder or link. Raises `Damaged`, `Refused`, `StorageFailed`."""

    def swap(self) -> None:
        """Put in place what was staged, and keep what was there."""

    def set_aside(self) -> Iterable[SetAside]:
        """The files and links that `swap` has set aside on this machine, to be deleted in the end."""

    def hand_over(self) -> None:
        """Leaving puts nothing back from here on: that is left to `Target.recover`."""

    def settle(self) -> None:
        """Keep the new files for good: leaving puts nothing back from here on."""

    def clean_up(self) -> None:
        """After `settle`: delete what was kept."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Rest(Protocol):
    """A Kimai that is stopped while it is restored into, where it can be stopped.

    `is_wanted`: it ran before, or was started since, and is to run at the end.
    """

    is_wanted: bool

    def start(self, *, migrating: bool = False) -> None:
        """Let it run, and wait until it is well, longer where it migrates a database. Raises `Unreachable`."""

    def stop(self) -> None:
        """Stop it again."""


class Target(Protocol):
    """The Kimai to restore into."""

    @property
    def root(self) -> Path:
        """Its root folder, as a path in its own world."""

    @property
    def console(self) -> Console:
        """Its console."""

    def version_file(self) -> str | None:
        """The text of its `version.txt`; None where there is none."""

    def newest_migration(self) -> str | None:
        """The newest migration that its code knows, such as `Version20260802183206`; None where that can't be seen."""

    def plugins(self) -> list[Plugin] | None:
        """The plugins that it loads; None, with a warning, where they can't be read."""

    def keeps(self, path: str) -> bool:
        """Whether what lies in this folder and not in the backup stays there after a restore of files."""

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from, as things are now. Raises `ConfigurationError`, `Unreachable`."""

    def read(self, path: str) -> bytes | None:
        """One of its settings files; see `ReadSmall`."""

    def own_database_url(self) -> str | None:
        """The DATABASE_URL that Kimai itself uses."""

    def owner(self) -> tuple[int, int]:
        """User and group that what it writes belongs to."""

    def mounted_files(self, files: Sequence[File], also: Sequence[str], /) -> set[bytes]:
        """Those of the backup's files whose place is a mount of its own: nothing can be renamed there."""

    def open(self, path: bytes) -> AbstractContextManager[IO[bytes]]:
        """A file of it, to compare. Raises `OSError`, `Unreachable`."""

    def check(self, files: Sequence[File], also: Sequence[str]) -> list[str]:
        """Raise `Refused` unless all the files can be put in place; else a sentence for each thing found good."""

    def compare(self, files: Sequence[File], also: Sequence[str]) -> Compared:
        """Which of these files are lost. Raises `Refused`, `Unreachable`."""

    def staging(
        self, run_id: str, also: Sequence[str], keep_beside: dict[str, str], lost: Sequence[File] = ()
    ) -> Exchange:
        """Where the files go. `also`: paths that only the backup's settings name; the others: see `Staging`."""

    def leftovers(self) -> list[Leftover]:
        """What restores that were killed left of their files."""

    def recover(self, run_id: str) -> list[str]:
        """Put back what one of them set aside, and delete its folders; what can't be put back is returned, in words."""

    def finish(self, run_id: str) -> None:
        """Keep for good what one of them has put in place, and delete what it set aside."""

    def check_cache(self) -> None:
        """Raise `Refused` where the cache could not be emptied."""

    def empty_cache(self) -> None:
        """Delete all that is in the cache. Raises `StorageFailed`, `Unreachable`."""

    @property
    def mirrors_secret(self) -> bool:
        """Whether its start writes `.env.local` anew, with the secret that lies in `var/data/.appsecret`."""

    @property
    def shares_network(self) -> bool:
        """Whether an address means the same to it as to us."""

    @property
    def runs(self) -> bool:
        """Whether it runs now, as far as anybody can tell."""

    @property
    def can_rest(self) -> bool:
        """Whether `at_rest` stops all of it."""

    def at_rest(self, *, was_running: bool, half: bool = False) -> AbstractContextManager[Rest]:
        """Stop it; on leaving, however that comes, it runs again if it did, now or (`was_running`) before a kill.

        `half`: what is there is half replaced, so that it stays stopped unless the block wants it otherwise.
        """

    def effects(self, manifest: Manifest | None, /) -> list[str]:
        """What its start will do by itself to a restored database, and what differs there from the backup's."""
