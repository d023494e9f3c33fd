"""Exchanging what is there for what was staged, by renames that a journal can take back after any crash."""

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sidecar.errors import Refused, StorageFailed
from sidecar.kimai.beneath import exists, list_names, open_folder, open_root, parent_of, parts_of, status_of
from sidecar.kimai.places import Places
from sidecar.kimai.userdata import STAGING_PREFIX, user_data

log = logging.getLogger(__name__)

JOURNAL = b"journal.json"
COMMITTED = b"committed.json"
ROLLED_BACK = b"rolled-back.json"
"""The journal's name is the state: renamed once the outcome is settled, before anything is deleted."""

JOURNAL_LIMIT = 64 << 20
"""Bytes of a journal; it names whole folders, rarely more than twenty."""

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

State = Literal["staging", "swapping", "committed", "rolled back"]
_STATES: dict[bytes, State] = {JOURNAL: "swapping", COMMITTED: "committed", ROLLED_BACK: "rolled back"}


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


class Leftover(NamedTuple):
    """What a restore that was killed left behind: in `staging` and the settled states only room is lost, while
    `swapping` means that some of what is there is new and some old.
    """

    run_id: str
    state: State
    folders: tuple[Path, ...]


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
    return (base + b"/" if base else b"") + STAGING_PREFIX + run_id.encode()


class Exchange:
    """One run's journal and renames below an open Kimai root."""

    def __init__(self, root: int, run_id: str, journal: Journal) -> None:
        self._root = root
        self._run_id = run_id
        self.journal = journal

    def folder(self, base: str) -> bytes:
        """The run's own folder on a mount."""
        return staging_folder(os.fsencode(base), self._run_id)

    def staged(self, path: bytes, base: bytes) -> bytes:
        """Where what shall be at a path is staged."""
        return staging_folder(base, self._run_id) + b"/new/" + path

    def swap(self) -> None:
        """Set aside what is there and put in place what was staged. Raises `StorageFailed`, half-way, too."""
        self._write_journal()
        for unit in self.journal.units:
            path, base = os.fsencode(unit.path), os.fsencode(unit.base)
            with faults_named(f"{unit.path} can't be exchanged"):
                if unit.existed:
                    self._move(path, self._aside("old", unit))
                if unit.staged:
                    self._move(self.staged(path, base), path)

    def put_back(self) -> None:
        """Bring back what was there, from any point that `swap` came to. Raises `StorageFailed`.

        What was done is told from what lies where: a path's old state is set aside exactly until it is back.
        """
        for unit in reversed(self.journal.units):
            path, aside = os.fsencode(unit.path), self._aside("old", unit)
            with faults_named(f"{unit.path} can't be put back from {os.fsdecode(aside)} in KIMAI_DIR"):
                placed = unit.staged and not exists(self._root, self.staged(path, os.fsencode(unit.base)))
                is_new = exists(self._root, aside) if unit.existed else placed
                if is_new and exists(self._root, path):
                    self._move(path, self._aside("failed", unit))
                if unit.existed and exists(self._root, aside):
                    self._move(aside, path)
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

    def _aside(self, kind: str, unit: Unit) -> bytes:
        return self.folder(unit.base) + f"/{kind}/{unit.place}".encode()

    def _write_journal(self) -> None:
        folder = self.folder(self.journal.bases[0])
        content = json.dumps(asdict(self.journal)).encode()
        with faults_named(f"{os.fsdecode(folder)} can't be written in KIMAI_DIR"):
            for base in self.journal.bases:
                with _opened(self._root, self.folder(base)) as descriptor:
                    os.mkdir(b"old", 0o700, dir_fd=descriptor)
                    os.mkdir(b"failed", 0o700, dir_fd=descriptor)
                    os.fsync(descriptor)
            with _opened(self._root, folder) as descriptor:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(
                    JOURNAL + b".new", "wb", opener=lambda name, _: os.open(name, flags, 0o600, dir_fd=descriptor)
                ) as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            self._move(folder + b"/" + JOURNAL + b".new", folder + b"/" + JOURNAL)

    def _move(self, source: bytes, target: bytes) -> None:
        """Rename, safe on disk, following no link on either way."""
        (source_folder, source_name), (target_folder, target_name) = parent_of(source), parent_of(target)
        with _opened(self._root, source_folder) as origin, _opened(self._root, target_folder) as goal:
            os.rename(source_name, target_name, src_dir_fd=origin, dst_dir_fd=goal)
            os.fsync(goal)
            os.fsync(origin)

    def _delete(self, folder: bytes) -> None:
        above, name = parent_of(folder)
        if not exists(self._root, folder):
            return
        with _opened(self._root, folder) as descriptor:
            names = list_names(descriptor)
            for each in sorted(names, key=lambda each: each in _STATES):
                delete(descriptor, each)
        with _opened(self._root, above) as descriptor:
            os.rmdir(name, dir_fd=descriptor)
            os.fsync(descriptor)


def apply_folder(root: int, path: bytes, state: FolderState) -> None:
    """Give a folder that stays its mode, time and, as root, its owner. Raises `OSError`."""
    with _opened(root, path) as descriptor:
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
    if os.path.stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _opened(root: int, path: bytes) -> Iterator[int]:
    descriptor = open_folder(root, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def leftovers(root: Path) -> list[Leftover]:
    """What restores that were killed left below Kimai's root, by run. Raises `StorageFailed`."""
    found: dict[str, list[tuple[bytes, State]]] = {}
    descriptor = open_root(root)
    try:
        for base in _bases(root):
            with faults_named(f"{root / os.fsdecode(base)} can't be searched"):
                for folder, state in _folders(descriptor, base):
                    run_id = os.fsdecode(parent_of(folder)[1].removeprefix(STAGING_PREFIX))
                    found.setdefault(run_id, []).append((folder, state))
    finally:
        os.close(descriptor)
    return [
        Leftover(
            run_id,
            next((state for _, state in each if state != "staging"), "staging"),
            tuple(root / os.fsdecode(folder) for folder, _ in each),
        )
        for run_id, each in sorted(found.items())
    ]


def _bases(root: Path) -> list[bytes]:
    return [b"", *sorted(Places(root, user_data(root).paths).mounts)]


def _folders(root: int, base: bytes) -> Iterator[tuple[bytes, State]]:
    with _opened(root, base) as descriptor:
        for name in list_names(descriptor):
            if name.startswith(STAGING_PREFIX) and (status := status_of(descriptor, name)) is not None:
                folder = (base + b"/" if base else b"") + name
                yield folder, _state(descriptor, name, status)


def _state(parent: int, name: bytes, status: os.stat_result) -> State:
    # In a folder that someone else made, a journal could name anything.
    if status.st_uid != os.geteuid() or not os.path.stat.S_ISDIR(status.st_mode):
        raise Refused(
            f"{os.fsdecode(name)} in KIMAI_DIR looks like a restore's, and belongs to user {status.st_uid}",
            mend="Run as that user if a restore of it was cut short; else look what it is and delete it.",
        )
    return next((state for each, state in _STATES.items() if exists(parent, name + b"/" + each)), "staging")


def recover(root: Path, run_id: str) -> State:
    """End what a killed restore left: put back what it set aside, unless it had settled, and delete its folders.

    Returns the state that was found. Raises `StorageFailed` where its journal can't be had, and then touches nothing.
    """
    leftover = next((each for each in leftovers(root) if each.run_id == run_id), None)
    if leftover is None:
        return "rolled back"
    descriptor = open_root(root)
    try:
        exchange = Exchange(descriptor, run_id, _read_journal(root, leftover))
        if leftover.state == "swapping":
            exchange.put_back()
        for note in exchange.clean_up():
            log.warning("%s", note)
    finally:
        os.close(descriptor)
    return leftover.state


def _read_journal(root: Path, leftover: Leftover) -> Journal:
    bases = [os.fsdecode(os.fsencode(folder.parent.relative_to(root))) for folder in leftover.folders]
    bases = ["" if base == "." else base for base in bases]
    if leftover.state == "staging":
        if any((folder / "old").is_dir() and any((folder / "old").iterdir()) for folder in leftover.folders):
            raise StorageFailed(
                f"a killed restore set files aside in {leftover.folders[0]}, and its journal is not there",
                mend="Mount all of Kimai's volumes and run it again.",
            )
        return Journal(bases)
    for folder in leftover.folders:
        for name in _STATES:
            path = folder / os.fsdecode(name)
            if path.exists():
                return _parsed(path)
    raise StorageFailed(f"{leftover.folders[0]} lost its journal", mend="Look into it: `old` is what was there.")


def _parsed(path: Path) -> Journal:
    try:
        with path.open("rb") as stream:
            document: dict[str, Any] = json.loads(stream.read(JOURNAL_LIMIT))
        journal = Journal(
            [str(base) for base in document["bases"]],
            [Unit(**unit) for unit in document["units"]],
            [FolderState(**state) for state in document["folders"]],
        )
        for named in (*journal.bases, *journal.units, *journal.folders):
            parts_of(os.fsencode(named if isinstance(named, str) else named.path))
    except (OSError, ValueError, TypeError, KeyError, UnicodeError) as error:
        raise StorageFailed(
            f"{path} can't be read: {error}", mend="Look into its folder: `old` holds what was there, by number."
        ) from error
    return journal
