"""A target that is a folder on this machine: whole files appear in it by rename, and nothing else does."""

import errno
import io
import logging
import os
import re
import secrets
import stat as modes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from sidecar.errors import ObjectNotFound, StorageFailed
from sidecar.storage.base import ObjectInfo, Source, check_key
from sidecar.storage.files import (
    CHUNK,
    FILE_MODE,
    MENDS,
    NEW_FILE_FLAGS,
    Reading,
    discard,
    link,
    open_source,
    regular_size,
    write,
)

log = logging.getLogger(__name__)

_TEMPORARY = re.compile(r"\.(?P<key>.+)\.[0-9a-f]{16}\.part", re.DOTALL)
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a FIFO of that name must not hold us; O_NOFOLLOW: a link isn't an object, as in `list`.
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# What fsync of a folder says on file systems (some network and FUSE ones) that know no such thing.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class LocalStorage:
    """Objects as files of mode 0600 in one folder, never created: it may be a disk that isn't mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        """How users call this target."""
        return "local"

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:  # noqa: ARG002 - files bear none
        """Store the source under the key, all or nothing, replacing what was there.

        A file on the same file system is linked, not copied (and gets mode 0600). Raises `StorageFailed`.
        """
        check_key(key)
        temporary, final = self._temporary_path(key), self._folder / key
        with self._explained(f"store {key}"):
            try:
                self._fill(temporary, source)
                temporary.replace(final)
                self._sync_folder_or_take_back(final)
            finally:
                # Also after success: renaming a link onto another one of the same file leaves both names.
                discard(temporary)

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes as a stream that the caller closes; reading it may raise `StorageFailed`.

        Raises `ObjectNotFound`.
        """
        check_key(key)
        path = self._folder / key
        with self._explained(f"open {key}"):
            try:
                descriptor = os.open(path, _READ_FLAGS)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                    self._not_found(key)
                raise
            if not modes.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                self._not_found(key)
            return cast(BinaryIO, io.BufferedReader(Reading(descriptor, path), CHUNK))

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size in bytes. Raises `ObjectNotFound`."""
        check_key(key)
        with self._explained(f"look at {key}"):
            size = regular_size(self._folder / key)
            if size is None:
                self._not_found(key)
            return ObjectInfo(key, size)

    def delete(self, key: str) -> None:
        """Remove the object, for good once this returns; one that isn't there is no error."""
        check_key(key)
        path = self._folder / key
        with self._explained(f"delete {key}"):
            if regular_size(path) is None:
                self._require_folder()
                return
            path.unlink(missing_ok=True)
            self._sync_folder()

    def spool(self, key: str) -> Path:
        """Make an empty temporary file (mode 0600) in this folder, for what `put` shall store as `key`.

        `put` then links it, so that the archive's bytes are written once. It is invisible to `list`; whoever
        asked for it removes it, and `sweep` does after a crash. Raises `StorageFailed`.
        """
        check_key(key)
        path = self._temporary_path(key)
        with self._explained(f"write {key}"):
            os.close(os.open(path, NEW_FILE_FLAGS, FILE_MODE))
        return path

    def leftovers(
        self, now: datetime, older_than_seconds: float = 86400, ours: Callable[[str], bool] | None = None
    ) -> tuple[Path, ...]:
        """The temporary files, by name, that were last touched so long before `now`: what killed runs left.

        `ours` is asked with the key that each one was to become. For less than a day, only the holder of the
        instance's lock may ask, for its own keys: others may be writing theirs. Raises `StorageFailed`.
        """
        limit = now.timestamp() - older_than_seconds
        found = []
        with self._explained("list the temporary files"), os.scandir(self._folder) as entries:
            for entry in entries:
                match = _TEMPORARY.fullmatch(entry.name)
                if match is None or not (ours is None or ours(match["key"])):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    # The change time, as a link bears its source's modification time, which may be days old.
                    if modes.S_ISREG(status.st_mode) and status.st_ctime <= limit:
                        found.append(self._folder / entry.name)
        return tuple(sorted(found))

    def sweep(
        self, now: datetime, older_than_seconds: float = 86400, ours: Callable[[str], bool] | None = None
    ) -> tuple[Path, ...]:
        """Remove the `leftovers`, naming each in the log, and return them. Raises `StorageFailed`."""
        found = self.leftovers(now, older_than_seconds, ours)
        with self._explained("remove the temporary files"):
            for path in found:
                path.unlink(missing_ok=True)
                log.warning("removed %s, which a run that was killed left in %s", path.name, self._folder)
            if found:
                self._sync_folder()
        return found

    def list(self) -> Iterator[ObjectInfo]:
        """Every whole object, by key in ascending order of code points; one pass over the folder."""
        found = []
        with self._explained("list the backups"), os.scandir(self._folder) as entries:
            for entry in entries:
                if not _is_key(entry.name):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if modes.S_ISREG(status.st_mode):
                        found.append(ObjectInfo(entry.name, status.st_size))
        return iter(sorted(found))

    def _temporary_path(self, key: str) -> Path:
        return self._folder / f".{key}.{secrets.token_hex(8)}.part"

    def _fill(self, temporary: Path, source: Source) -> None:
        if isinstance(source, bytes):
            write(temporary, io.BytesIO(source))
            return
        with open_source(source) as stream:
            if not link(source, temporary):
                write(temporary, stream)

    def _sync_folder_or_take_back(self, final: Path) -> None:
        try:
            self._sync_folder()
        except OSError:
            # Not known to outlive a power cut, so not stored: better absent than visible and gone tomorrow.
            discard(final)
            raise

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, _FOLDER_FLAGS)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)

    def _require_folder(self) -> None:
        """Tell a missing folder from a missing object."""
        os.close(os.open(self._folder, _FOLDER_FLAGS))

    def _not_found(self, key: str) -> NoReturn:
        self._require_folder()
        raise ObjectNotFound(f"{key} is not in {self._folder}", mend="`kimai-backup list` shows what is there.")

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what the system says into one line for the user."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR) and (missing := self._why_no_folder()):
                raise missing from error
            raise StorageFailed(
                f"can't {doing} in {self._folder}: {error.strerror or error}",
                mend=MENDS.get(error.errno or 0, ""),
            ) from error

    def _why_no_folder(self) -> StorageFailed | None:
        """What is wrong with the folder itself; None where it is there."""
        try:
            mode = self._folder.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return StorageFailed(
                f"backup folder {self._folder} does not exist",
                mend="It is never created, as it may be a disk that isn't mounted: mount that,"
                " create the folder, or set BACKUP_DIR.",
            )
        except OSError:
            return None
        if modes.S_ISDIR(mode):
            return None
        return StorageFailed(
            f"backup folder {self._folder} is no folder", mend="Set BACKUP_DIR to the folder that backups are kept in."
        )


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except ValueError:
        return False
    return True
