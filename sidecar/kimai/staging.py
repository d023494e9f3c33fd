"""Putting a backup's files back: staged on their own mount first, then exchanged for what is there."""

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import msgspec

from sidecar.errors import Refused, StorageFailed
from sidecar.kimai.aside import SetAside, set_aside
from sidecar.kimai.beneath import (
    STAGING_PREFIX,
    below,
    exact_path,
    exists,
    list_names,
    open_root,
    parent_of,
    parts_of,
    status_of,
)
from sidecar.kimai.environment import BESIDE_SUFFIX
from sidecar.kimai.places import Places
from sidecar.kimai.setaside import (
    COMMITTED,
    Exchange,
    FolderState,
    Journal,
    Unit,
    apply_folder,
    delete,
    faults_named,
    opened,
)
from sidecar.kimai.tree import StagedTree, allowed_path, as_state, none_of_kimais
from sidecar.kimai.userdata import outermost, user_data
from sidecar.manifest import File

log = logging.getLogger(__name__)

CACHE_TRIES = 3
"""How often the cache is emptied again while a running Kimai writes into it."""

# What a file system makes by itself at its root.
_NOT_OURS = {b"lost+found"}


class Staging:
    """One restore of files. `write` them all, `swap`, check, `commit`; leaving without `commit` puts all back.

    Until `swap` nothing that Kimai uses is touched. `run_id` names the folders it works in, one on each mount.
    `also`: paths of user data that only the backup's own settings name. `keep_beside`: paths that go under another
    name (`environment.plan_env`). `protect`: folders that are not Kimai's, such as a target for backups.
    `lost`: only these are brought, and nothing is in their place; everything else stays, in their folders as well.
    `notes` tells, a sentence each, what was not restored as it was; `kept`: user data of the target that the
    backup doesn't have, and that stays. Nothing is ever written through a link.
    """

    def __init__(
        self,
        root: Path,
        run_id: str,
        *,
        also: Iterable[str] = (),
        keep_beside: Mapping[str, str] | None = None,
        protect: Iterable[Path] = (),
        lost: Iterable[File] = (),
    ) -> None:
        self.notes: list[str] = []
        self.kept: list[str] = []
        self.stays: list[str] = []  # here all can be taken away
        self._beside = dict(keep_beside or {})
        paths = {*user_data(root).paths, *also}
        environments = {path + BESIDE_SUFFIX for path in paths if path.startswith(".env")}
        self._allowed = [path.encode() for path in outermost({*paths, *environments, *self._beside.values()})]
        self._lost = {exact_path(file) for file in lost}
        self._places = Places(root, paths, protect)
        self._run_id = run_id
        self._root = open_root(root)
        self._tree = StagedTree(self._root, run_id, self._places)
        self._tops: dict[bytes, bytes] = {}
        self._fixed: dict[bytes, File] = {}
        self._exchange: Exchange | None = None
        self._settled = False
        self._is_handed_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if self._is_handed_over:
                self._tree.close()
            else:
                self.rollback()
        finally:
            os.close(self._root)

    def hand_over(self) -> None:
        """Leaving puts nothing back from here on: somebody's journal tells `recovery` which way it goes."""
        self._is_handed_over = True

    def set_aside(self) -> Iterator[SetAside]:
        """The files and links that `swap` has set aside."""
        if self._exchange is not None:
            yield from set_aside(self._root, self._exchange)

    def write(self, file: File, chunks: Iterable[bytes] = ()) -> None:
        """Stage one file, folder or link; a folder's own entry may come before or after what is in it.

        Raises `Damaged` for a path that is none of Kimai's user data or leads through a link, and for content that
        isn't what `file` says; `Refused` where the target's folders don't allow it; `StorageFailed`.
        """
        if moved := self._beside.get(file.path):
            file = msgspec.structs.replace(file, path=moved, path_bytes=None)
        path = self._checked(file)
        if path in self._places.fixed:
            if file.kind != "folder":
                raise Refused(
                    f"{file.path} is a {file.kind} in the backup, and a mount, or holds one, in the target",
                    mend="Unmount what is below it, or restore into another Kimai.",
                )
            self._fixed[path] = file
            return
        self._tree.write(path, file, chunks)

    def swap(self) -> None:
        """Set aside what is there, and put in place what was staged.

        Raises `StorageFailed`, half-way, too; what was done is then put back on leaving, or by `rollback`.
        """
        self._tree.finish()
        if self._tree.strangers:
            self.notes.append(f"owners of {self._tree.strangers} files are not restored: only root may")
        units = list(self._units())
        states = [self._state_of(path) for path in sorted(self._fixed)]
        for base in sorted({os.fsencode(unit.base) for unit in units} or {*self._fixed} & self._places.mounts):
            self._tree.begin(base)
        if not self._lost:
            self.kept += [os.fsdecode(path) for path in self._allowed if self._is_kept(path)]
        if self._tree.bases:
            self._exchange = Exchange(self._root, self._run_id, self._journal(units, states))
            self._exchange.swap()
        self._set_fixed([as_state(file) for file in self._fixed.values()])

    def rollback(self) -> None:
        """Put back what was there, wholly, and delete what was staged; after `commit`, or twice, nothing.

        Raises `StorageFailed`; what was set aside then stays where the error says (`recovery.recover`).
        """
        if self._settled:
            return
        self._tree.close()
        if self._exchange is not None:
            self._exchange.put_back()
        self._clean_up(self._exchange.journal.folders if self._exchange else [])

    def commit(self) -> None:
        """Keep the new files for good, and delete the old ones. Raises `StorageFailed` before that is settled."""
        self.settle()
        self.clean_up()

    def settle(self) -> None:
        """Keep the new files for good: one rename, after which leaving puts nothing back. Raises `StorageFailed`."""
        if self._exchange is not None:
            self._exchange.settle(COMMITTED)
        self._settled = True

    def clean_up(self) -> None:
        """After `settle`: delete the old files. What can't be deleted is told in `notes`."""
        self._clean_up([as_state(file) for file in self._fixed.values()])

    def _clean_up(self, states: list[FolderState]) -> None:
        self._settled = True
        exchange = self._exchange or Exchange(self._root, self._run_id, self._journal([], []))
        notes = exchange.clean_up()
        for note in notes:
            log.warning("%s", note)
        self.notes += notes
        try:
            # Deleting from a mount's root has changed its time once more.
            self._set_fixed(states)
        except StorageFailed as error:
            # Settled is settled: what is left to do is not worth a failed restore.
            self.notes.append(error.what)

    def _set_fixed(self, states: list[FolderState]) -> None:
        for state in sorted(states, key=lambda state: state.path, reverse=True):
            with faults_named(f"{state.path} in KIMAI_DIR can't be given its mode and owner"):
                apply_folder(self._root, os.fsencode(state.path), state)

    def _journal(self, units: list[Unit], states: list[FolderState]) -> Journal:
        return Journal([os.fsdecode(base) for base in self._tree.bases], units, states)

    def _checked(self, file: File) -> bytes:
        path, top = allowed_path(file, self._allowed)
        top = path if path in self._lost else top
        if any(part.startswith(STAGING_PREFIX) for part in parts_of(path)):
            raise none_of_kimais(file)
        if self._places.is_protected(path):
            raise Refused(f"{file.path} would go where backups are kept", mend="Move BACKUP_DIR out of Kimai's folder.")
        if top not in self._tops:
            self._tops[top] = self._first_missing(top)
        return path

    def _first_missing(self, top: bytes) -> bytes:
        """What is to be put in place for a path: the path, or the first folder on the way that isn't there."""
        parts = parts_of(top)
        for count in range(1, len(parts)):
            folder = b"/".join(parts[:count])
            with faults_named(f"{os.fsdecode(folder)} in KIMAI_DIR can't be looked at"):
                status = status_of(self._root, folder)
            if status is None:
                return folder
            if not stat.S_ISDIR(status.st_mode):
                raise Refused(
                    f"{os.fsdecode(folder)} in KIMAI_DIR is a link or a file; nothing is written through it",
                    mend="Make it a folder, or mount there what the link leads to.",
                )
        return top

    def _units(self) -> Iterator[Unit]:
        paths = sorted({found for top, missing in self._tops.items() for found in self._exchanged(top, missing)})
        for place, path in enumerate(paths):
            base = self._places.base_of(path)
            with faults_named(f"{os.fsdecode(path)} in KIMAI_DIR can't be looked at"):
                existed = exists(self._root, path)
                staged = exists(self._root, self._tree.staged(path))
            if self._lost and existed:
                raise Refused(f"{os.fsdecode(path)} in KIMAI_DIR is there by now", mend="Look at it, and run it again.")
            yield Unit(os.fsdecode(path), os.fsdecode(base), place, existed, staged)

    def _exchanged(self, path: bytes, missing: bytes) -> Iterator[bytes]:
        """What is renamed for a path: itself, or, for a folder that has to stay, what is in it."""
        if path not in self._places.fixed:
            yield missing
            return
        # What is in a mount is staged on it, the mount's own folder beside it.
        staged = parent_of(self._tree.staged(below(path, b"x")))[0]
        names = self._names(path) | self._names(staged)
        for name in sorted(names):
            child = below(path, name)
            if name.startswith(STAGING_PREFIX) or child in self._places.protected:
                continue
            if path in self._places.mounts and name in _NOT_OURS:
                continue
            if child in self._places.fixed and child not in self._fixed and child not in self._tree.reached:
                self.kept.append(os.fsdecode(child))
                continue
            yield from self._exchanged(child, child)

    def _names(self, path: bytes) -> set[bytes]:
        with faults_named(f"{os.fsdecode(path)} in KIMAI_DIR can't be read"):
            if not exists(self._root, path):
                return set()
            with opened(self._root, path) as descriptor:
                return set(list_names(descriptor))

    def _state_of(self, path: bytes) -> FolderState:
        with faults_named(f"{os.fsdecode(path)} in KIMAI_DIR can't be looked at"), opened(self._root, path) as folder:
            status = os.fstat(folder)
        return FolderState(os.fsdecode(path), status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)

    def _is_kept(self, path: bytes) -> bool:
        if path in self._tops or os.fsdecode(path).endswith(BESIDE_SUFFIX):
            return False
        with faults_named(f"{os.fsdecode(path)} in KIMAI_DIR can't be looked at"):
            return exists(self._root, path)


def empty_cache(root: Path) -> None:
    """Delete all that is in `var/cache`, following no link; the folder itself stays, as its owner may not make it.

    Raises `StorageFailed`, for a `var/cache` that is a link or not there to be opened, too.
    """
    descriptor = open_root(root)
    try:
        with faults_named(f"{root / 'var/cache'} can't be emptied"):
            if not exists(descriptor, b"var/cache"):
                return
            with opened(descriptor, b"var/cache") as cache:
                for attempt in range(CACHE_TRIES):
                    _delete_all(cache, is_last=attempt == CACHE_TRIES - 1)
    finally:
        os.close(descriptor)


def _delete_all(folder: int, *, is_last: bool) -> None:
    for name in list_names(folder):
        try:
            delete(folder, name)
        except OSError as error:
            # Kimai itself may write and delete there meanwhile.
            if is_last:
                raise
            log.debug("%s in var/cache: %s", os.fsdecode(name), error)
