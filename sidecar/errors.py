"""Every failure that a user can meet, each with its exit code and what to do next."""

from enum import IntEnum


class Exit(IntEnum):
    """The documented exit codes (README, "Exit codes"); each error class below carries one."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    PARTIAL = 3
    CONFIGURATION = 4
    UNREACHABLE = 5
    STORAGE = 6
    DAMAGED = 7
    REFUSED = 8
    LOCKED = 9
    NO_SUCH_BACKUP = 10
    INTERRUPTED = 130


class KimaiBackupError(Exception):
    """What went wrong, with the value, and what to do next, in one line each.

    `is_told`: the log has it already, so that it need not be told once more at the end.
    """

    exit_code = Exit.FAULT
    is_told = False

    def __init__(self, what: str, *, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        text = f"{self.what}. {self.mend}" if self.mend else self.what
        # A file's name need not be UTF-8, and what is said of it goes to files and streams that are.
        return text.encode(errors="backslashreplace").decode()


class UsageError(KimaiBackupError):
    """The command line asks for something that makes no sense."""

    exit_code = Exit.USAGE


class ConfigurationError(KimaiBackupError):
    """A setting is missing or wrong."""

    exit_code = Exit.CONFIGURATION


class Unreachable(KimaiBackupError):
    """Kimai or its database does not answer, or refuses user, password or database name."""

    exit_code = Exit.UNREACHABLE


class StorageFailed(KimaiBackupError):
    """A target can't be read or written: missing, full, no rights."""

    exit_code = Exit.STORAGE


class StorageAway(StorageFailed):
    """The target does not answer, or asks for patience: the same call may work a moment later."""


class SpoolFailed(StorageFailed):
    """The file that an archive grows in takes no more of it."""


class ObjectNotFound(StorageFailed):
    """The target answers, and holds no object of that name."""


class Damaged(KimaiBackupError):
    """A backup isn't what its manifest says, or what was restored isn't what was backed up."""

    exit_code = Exit.DAMAGED


class Refused(KimaiBackupError):
    """A safety check says no; nothing was touched."""

    exit_code = Exit.REFUSED


class Locked(KimaiBackupError):
    """Another run holds the lock of this instance."""

    exit_code = Exit.LOCKED


class NoSuchBackup(KimaiBackupError):
    """No backup of that name on any target."""

    exit_code = Exit.NO_SUCH_BACKUP


class Interrupted(KimaiBackupError):
    """SIGINT or SIGTERM ended the run; nothing was published in part."""

    exit_code = Exit.INTERRUPTED
