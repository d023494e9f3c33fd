"""The state folder: the lock that lets one run at a time, and the journal of a restore that was not ended."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from sidecar.errors import ConfigurationError, Locked, StorageFailed

log = logging.getLogger(__name__)


class RestoreNote(msgspec.Struct, kw_only=True):
    """What a restore under way makes: enough for the next one to take it back after a kill.

    `objects` are kind and name of what is, or is about to be, made in the database. From `settled` on the
    restore counts as done.
    """

    backup: str
    database: str
    run_id: str
    root: str
    phase: Literal["under way", "settled"] = "under way"
    objects: list[list[str]] = []


class State:
    """The folder of one machine's state; made where it is missing, as it holds nothing that can't be made anew."""

    def __init__(self, folder: Path, instance: str) -> None:
        self._folder = folder
        self._instance = instance

    @property
    def folder(self) -> Path:
        """The folder, made if need be. Raises `ConfigurationError` where it can't be."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"BACKUP_STATE_DIR {self._folder} can't be made: {error.strerror}",
                mend="Make the folder, or set BACKUP_STATE_DIR to one that this user may write to.",
            ) from error
        return self._folder

    @contextmanager
    def lock(self, doing: str) -> Iterator[None]:
        """Hold the instance's lock. Raises `Locked`, naming the holder, where another run holds it.

        The kernel lets go of it when the process ends, however it ends.
        """
        path = self.folder / f"{self._instance}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"BACKUP_STATE_DIR: {path} can't be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 400, 0).decode(errors="replace").strip() or "another run"
                raise Locked(f"{holder} holds the lock {path}", mend="Wait until it has ended.") from error
            _label(descriptor, doing)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def restore_note(self) -> RestoreNote | None:
        """What a restore that was killed had made; None where none was."""
        try:
            content = self._note_path().read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(content, type=RestoreNote)
        except msgspec.DecodeError as error:
            raise ConfigurationError(
                f"{self._note_path()}, the journal of a restore, can't be read: {error}",
                mend="Look at the database and Kimai's folder yourself, then remove that file.",
            ) from error

    def write_restore_note(self, note: RestoreNote) -> None:
        """Put the note down so that it outlives a power cut, before what it tells of is done."""
        path = self._note_path()
        try:
            _write_whole(path, msgspec.json.encode(note))
        except OSError as error:
            raise StorageFailed(
                f"{path}, the journal of the restore, can't be written: {error.strerror}",
                mend="Make room in BACKUP_STATE_DIR, and let this user write there.",
            ) from error

    def clear_restore_note(self) -> None:
        """The restore has ended, one way or the other."""
        self._note_path().unlink(missing_ok=True)

    def _note_path(self) -> Path:
        return self.folder / f"{self._instance}.restore.json"


def _label(descriptor: int, doing: str) -> None:
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{doing} (process {os.getpid()}, since {started})".encode(), 0)
    except OSError as error:
        # A full disk: the lock holds all the same.
        log.warning("the lock can't be labelled with its holder: %s", error.strerror)


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, even after a power cut. Raises `OSError`."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
