"""What the doctor works with, and what a probe tells of what it found."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.database.scratch import Open
from sidecar.database.snapshot import Connect
from sidecar.errors import Exit
from sidecar.kimai.instance import Instance
from sidecar.probes.listed import Listed
from sidecar.storage.base import Storage


@dataclass(frozen=True)
class Finding:
    """One line: what was tried, what was seen, and the mend for what doesn't work. Code 0 where it works."""

    what: str
    seen: str
    mend: str = ""
    exit_code: Exit = Exit.DONE

    @property
    def good(self) -> bool:
        """Nothing to mend, or nothing that must be."""
        return self.exit_code is Exit.DONE


@dataclass(frozen=True)
class Job:
    """What the doctor looks at. `backup_dir` is None without a local target; `storages` may be empty.

    `remarks` tells what is to be known of the S3 store by now. `kimai` gives the instance, or raises what keeps it
    from being found. `drills`: they run by themselves. `notifiers` gives who is told of runs, what is to be known of
    that, the mend and the code. `scratch` opens a database of the server for drills, where one is set, and
    `scratch_prefix` begins its name.
    """

    instance_name: str
    kimai: Callable[[], Instance]
    connect: Connect
    connections: int
    storages: Sequence[Storage]
    remarks: Callable[[datetime], Iterable[tuple[str, str, str, Exit]]]
    check_state_folder: Callable[[], Path]
    backup_dir: Path | None
    notifiers: Callable[[], Iterable[tuple[str, str, str, Exit]]] = tuple
    scratch: Open | None = None
    scratch_prefix: Callable[[], str] = str
    recipients: Sequence[str] = ()
    keys: Keyring = NO_KEYS
    drills: bool = False

    @cached_property
    def listed(self) -> Sequence[Storage]:
        """The targets for all who look at which backups lie there: each is listed but once."""
        return [Listed(storage) for storage in self.storages]
