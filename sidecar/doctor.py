"""Doctor: try everything that a backup and a restore need, before the night they are needed."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sidecar.errors import Exit, KimaiBackupError
from sidecar.probes.database import database, snapshot
from sidecar.probes.encryption import encryption
from sidecar.probes.job import Finding, Job
from sidecar.probes.kimai import files, kimai
from sidecar.probes.machine import clock, state_folder
from sidecar.probes.notifiers import notifiers
from sidecar.probes.room import room
from sidecar.probes.scratch import scratch
from sidecar.probes.targets import LOOK_AT_TARGET, store, targets

__all__ = ["Finding", "Job", "examine", "exit_code"]

_LOOK_AT_KIMAI = "Look at KIMAI_DIR: its disk, its owner, its rights."
_LOOK_AT_DATABASE = "Look at DATABASE_URL, and whether its server can be reached from here."
_LOOK_AT_STATE = "Set BACKUP_STATE_DIR to a folder that this user may write to."


class _Line(NamedTuple):
    """A probe, and what is said with which code where it meets a fault of the system that nobody told better."""

    what: str
    probe: Callable[[Job], Iterator[Finding]]
    exit_code: Exit
    mend: str


_LINES = (
    _Line("Kimai", kimai, Exit.CONFIGURATION, _LOOK_AT_KIMAI),
    _Line("files", files, Exit.CONFIGURATION, _LOOK_AT_KIMAI),
    _Line("database", database, Exit.UNREACHABLE, _LOOK_AT_DATABASE),
    _Line("snapshot", snapshot, Exit.UNREACHABLE, _LOOK_AT_DATABASE),
    _Line("state folder", state_folder, Exit.CONFIGURATION, _LOOK_AT_STATE),
    _Line("targets", targets, Exit.STORAGE, LOOK_AT_TARGET),
    _Line("target s3", store, Exit.STORAGE, LOOK_AT_TARGET),
    _Line("room", room, Exit.STORAGE, LOOK_AT_TARGET),
    _Line("encryption", encryption, Exit.STORAGE, _LOOK_AT_STATE),
    _Line("clock", clock, Exit.UNREACHABLE, _LOOK_AT_DATABASE),
    _Line("scratch server", scratch, Exit.UNREACHABLE, "Look at DRILL_DATABASE_URL."),
    _Line("notifications", notifiers, Exit.CONFIGURATION, "Look at NOTIFY_URLS."),
)


def examine(job: Job) -> list[Finding]:
    """Try everything; a failure is a finding, and the next thing is tried."""
    findings: list[Finding] = []
    for line in _LINES:
        try:
            # What a probe found before it failed stays.
            findings += line.probe(job)
        except KimaiBackupError as error:
            findings.append(Finding(line.what, error.what, error.mend, error.exit_code))
        except OSError as error:
            findings.append(Finding(line.what, str(error), line.mend, line.exit_code))
    return findings


def exit_code(findings: Sequence[Finding]) -> Exit:
    """The first failure's code, configuration before reachability before storage; 0 where all is well."""
    return min((finding.exit_code for finding in findings if not finding.good), default=Exit.DONE)
