"""Exchanging what is there for what was staged, by renames that a journal can take back after any crash."""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from sidecar.errors import StorageFailed
from sidecar.kimai.beneath import STAGING_PREFIX, below, exists, list_names, open_folder, parent_of, status_of

JOURNAL = b"journal.json"
COMMITTED = b"committed.json"
ROLLED_BACK = b"rolled-back.json"
"""The journal's name is the state: renamed once the outcome is settled, before anything is deleted."""

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES}
"""What a file system says that has no hard links, or a kernel that doesn't let this user make one of another's file."""

State = Literal["staging", "swapping", "committed", "rolled back"]
STATES: dict[bytes, State] = {JOURNAL: "swapping", COMMITTED: "committed", ROLLED_BACK: "rolled back"}


@dataclass(frozen=True)
class Unit:
    """One path that is exchanged by renames. Paths relative to Kimai's root, as `os.fsdecode` gives them.

    `base` is the mount it lies on, `place` its number among the units, `existed` whether something was there before,
    `staged` whether something takes its place.
    """

    path: str
    base: str
    place: int
    existed: bool
    staged: bool


@dataclass(frozen=True)
class FolderState:
    """What a folder that stays was like before its own mode, owner and time were changed."""

    path: str
    mode: int
    uid: int
    gid: int
    mtime: int


@dataclass
class Journal:
    """All that is needed to put back what was there; `bases[0]` is where it lies itself."""

    bases: list[str]
    units: list[Unit] = field(default_factory=list)
    folders: list[FolderState] = field(default_factory=list)


@contextlib.contextmanager
def faults_named(what: str) -> Iterator[None]:
    """Tell a fault of the file system as `StorageFailed`."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{what}: {error.strerror or error}",
            mend="Free room, or let the user that runs kimai-backup write there, and run it again.",
        ) from error


def staging_folder(base: bytes, run_id: str) -> bytes:
    """Where a run stages and sets aside on one mount, relative to Kimai's root."""
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id!r} can't be part of a folder's name")
    return below(base, STAGING_PREFIX + run_id.encode())


def staged_path(path: bytes, base: bytes, run_id: str) -> bytes:
    """Where a run stages what shall be at a path that lies on that mount."""
    return staging_folder(base, run_id) + b"/new/" + path


class Exchange:
    """One run's journal and renames below an open Kimai root."""

    def __init__(self, root: int, run_id: str, journal: Journal) -> None:
        self._root = root
        self._run_id = run_id
        self.journal = journal

    def folder(self, base: str) -> bytes:
        """The run's own folder on a mount."""
        return staging_folder(os.fsencode(base), self._run_id)

    def swap(self) -> None:
        """Set aside what is there and put in place what was staged. Raises `StorageFailed`, half-way, too."""
        self._write_journal()
        for unit in self.journal.units:
            path, base = os.fsencode(unit.path), os.fsencode(unit.base)
            with faults_named(f"{unit.path} can't be exchanged"):
                staged = staged_path(path, base, self._run_id)
                if unit.existed and not (unit.staged and self._link_aside(path, staged, self.aside("old", unit))):
                    self._move(path, self.aside("old", unit))
                if unit.staged:
                    self._move(staged, path)

    def put_back(self) -> None:
        """Bring back what was there, from any point that `swap` came to. Raises `StorageFailed`.

        What was done is told from what lies where: a path's old state is set aside exactly until it is back.
        """
        for unit in reversed(self.journal.units):
            path, aside = os.fsencode(unit.path), self.aside("old", unit)
            with faults_named(f"{unit.path} can't be put back from {os.fsdecode(aside)} in KIMAI_DIR"):
                placed = unit.staged and not exists(self._root, staged_path(path, os.fsencode(unit.base), self._run_id))
                is_new = exists(self._root, aside) if unit.existed else placed
                if is_new and exists(self._root, path) and not (self._is_file(path) and self._is_file(aside)):
                    self._move(path, self.aside("failed", unit))
                if unit.existed and exists(self._root, aside):
                    # A file goes over what lies there (`_link_aside`).
                    self._move(aside, path)
                    # The kernel renames nothing where both are one file still, and says nothing.
                    self._unlink(aside)
        for state in self.journal.folders:
            with faults_named(f"{state.path} can't be set back"):
                apply_folder(self._root, os.fsencode(state.path), state)
        self.settle(ROLLED_BACK)

    def settle(self, name: bytes) -> None:
        """Give the journal the name of the outcome; from here on only deleting is left."""
        folder = self.folder(self.journal.bases[0])
        with faults_named(f"{os.fsdecode(folder)} can't be written in KIMAI_DIR"):
            if exists(self._root, folder + b"/" + JOURNAL):
                self._move(folder + b"/" + JOURNAL, folder + b"/" + name)

    def clean_up(self) -> list[str]:
        """Delete the run's folders, the journal last; what can't be deleted is returned as a sentence each."""
        notes = []
        for base in reversed(self.journal.bases):
            folder = self.folder(base)
            try:
                self._delete(folder)
            except OSError as error:
                notes.append(f"{os.fsdecode(folder)} in KIMAI_DIR can't be deleted ({error.strerror}): delete it")
                break
        return notes

    def aside(self, kind: Literal["old", "failed"], unit: Unit) -> bytes:
        """Where what a unit's path held is, or will be, set aside."""
        return self.folder(unit.base) + f"/{kind}/{unit.place}".encode()

    def _link_aside(self, path: bytes, staged: bytes, aside: bytes) -> bool:
        """Set a file aside by a second name, so that the staged one can go over it: its path is never without one.

        Kimai, and a restore that is taken up again after a kill, read their settings from such files. False where it
        is no file, or the file system gives no second names.
        """
        if not (self._is_file(path) and self._is_file(staged)):
            return False
        (source_folder, source_name), (target_folder, target_name) = parent_of(path), parent_of(aside)
        with opened(self._root, source_folder) as origin, opened(self._root, target_folder) as goal:
            try:
                os.link(source_name, target_name, src_dir_fd=origin, dst_dir_fd=goal, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return False
            os.fsync(goal)
        return True

    def _unlink(self, path: bytes) -> None:
        folder, name = parent_of(path)
        with opened(self._root, folder) as descriptor, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=descriptor)

    def _is_file(self, path: bytes) -> bool:
        status = status_of(self._root, path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def _write_journal(self) -> None:
        folder = self.folder(self.journal.bases[0])
        content = json.dumps(asdict(self.journal)).encode()
        with faults_named(f"{os.fsdecode(folder)} can't be written in KIMAI_DIR"):
            for base in self.journal.bases:
                with opened(self._root, self.folder(base)) as descriptor:
                    os.mkdir(b"old", 0o700, dir_fd=descriptor)
                    os.mkdir(b"failed", 0o700, dir_fd=descriptor)
                    os.fsync(descriptor)
            with opened(self._root, folder) as descriptor:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                new = os.open(JOURNAL + b".new", flags, 0o600, dir_fd=descriptor)
                with os.fdopen(new, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(new)
            self._move(folder + b"/" + JOURNAL + b".new", folder + b"/" + JOURNAL)

    def _move(self, source: bytes, target: bytes) -> None:
        """Rename, safe on disk, following no link on either way."""
        (source_folder, source_name), (target_folder, target_name) = parent_of(source), parent_of(target)
        with opened(self._root, source_folder) as origin, opened(self._root, target_folder) as goal:
            os.rename(source_name, target_name, src_dir_fd=origin, dst_dir_fd=goal)
            os.fsync(goal)
            os.fsync(origin)

    def _delete(self, folder: bytes) -> None:
        above, name = parent_of(folder)
        if not exists(self._root, folder):
            return
        with opened(self._root, folder) as descriptor:
            names = list_names(descriptor)
            for each in sorted(names, key=lambda each: each in STATES):
                delete(descriptor, each)
        with opened(self._root, above) as descriptor:
            os.rmdir(name, dir_fd=descriptor)
            os.fsync(descriptor)


def apply_folder(root: int, path: bytes, state: FolderState) -> None:
    """Give a folder that stays its mode, time and, as root, its owner. Raises `OSError`."""
    with opened(root, path) as descriptor:
        if os.geteuid() == 0:
            os.fchown(descriptor, state.uid, state.gid)
        os.fchmod(descriptor, state.mode & 0o7777)
        os.utime(descriptor, ns=(state.mtime, state.mtime))
        os.fsync(descriptor)


def delete(folder: int, name: bytes) -> None:
    """Delete whatever has that name in an open folder, following no link. Raises `OSError`."""
    status = status_of(folder, name)
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def opened(root: int, path: bytes) -> Iterator[int]:
    """Open a folder below an open one, no link followed, and close it again. Raises `OSError`."""
    descriptor = open_folder(root, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
