"""What a local target does with single files: read, link, write whole and safe on disk, remove."""

import errno
import io
import logging
import os
import shutil
import stat as modes
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sidecar.errors import StorageFailed

log = logging.getLogger(__name__)

FILE_MODE = 0o600
CHUNK = 1 << 20
NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# What link() says on file systems without hard links, across two of them, or for another user's file.
_NO_LINK = {
    errno.EXDEV,
    errno.EPERM,
    errno.EACCES,
    errno.EMLINK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EINVAL,
}
_NO_RIGHTS = "Let the user that runs kimai-backup read, write and enter that folder."
MENDS = {
    errno.ENOSPC: "Free room on that disk, or keep fewer backups (RETENTION_DAYS).",
    errno.EDQUOT: "The quota is used up: raise it, or keep fewer backups (RETENTION_DAYS).",
    errno.EROFS: "The file system is read-only: mount it for writing, and ask its log why it is not.",
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.EIO: "The disk reports a fault: look at the kernel's log before trusting what is on it.",
    errno.ESTALE: "The network share was taken away: mount it again.",
    errno.ENAMETOOLONG: "Use a shorter BACKUP_INSTANCE.",
    errno.EFBIG: "The file system or a limit of this process (ulimit -f) allows no file that big.",
}


class Reading(io.FileIO):
    """A file whose read faults are told as `StorageFailed`, as the rest of a target's are."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: Any, /) -> int:
        """Read into the buffer. Raises `StorageFailed`."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            self._failed(error)

    def readall(self) -> bytes:
        """Read all that is left. Raises `StorageFailed`."""
        try:
            return super().readall()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> NoReturn:
        raise StorageFailed(
            f"can't read {self._path}: {error.strerror or error}", mend=MENDS.get(error.errno or 0, "")
        ) from error


def regular_size(path: Path) -> int | None:
    """A regular file's size in bytes; None for what isn't there or is something else."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_size if modes.S_ISREG(status.st_mode) else None


def open_source(source: Path) -> BufferedReader:
    """Open what is to be stored. Raises `StorageFailed`, as its fault must not be taken for the target's."""
    try:
        return source.open("rb")
    except OSError as error:
        raise StorageFailed(
            f"can't read {source}, which is to be stored: {error.strerror}",
            mend=MENDS.get(error.errno or 0, ""),
        ) from error


def link(source: Path, temporary: Path) -> bool:
    """Give the source's bytes a second name, safe on disk; False where that can't be. Raises `OSError`."""
    try:
        temporary.hardlink_to(source.resolve())
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _make_private(descriptor, temporary)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def write(temporary: Path, stream: BinaryIO) -> None:
    """Copy the stream into a new file, safe on disk. Raises `OSError`."""
    descriptor = os.open(temporary, NEW_FILE_FLAGS, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        _make_private(descriptor, temporary)
        shutil.copyfileobj(stream, file, CHUNK)
        file.flush()
        os.fsync(descriptor)


def _make_private(descriptor: int, path: Path) -> None:
    if modes.S_IMODE(os.fstat(descriptor).st_mode) == FILE_MODE:
        return
    try:
        os.fchmod(descriptor, FILE_MODE)
    except OSError as error:
        # FAT, exFAT and some shares have no modes: no reason to lose the backup.
        log.warning("%s can't be made private (mode 0600): %s", path, error.strerror)


def discard(path: Path) -> None:
    """Remove a file of ours if it is there; a failure here must not hide the one that led here."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("can't remove %s: %s", path, error.strerror)
