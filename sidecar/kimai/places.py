"""Where below Kimai's root a restore may rename, where it must stage, and whether there is room."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sidecar.kimai.beneath import exact_path, is_within, mounts_below, parent_of, relative_to
from sidecar.manifest import File

ENTRY_COST = 4096
"""Bytes that an entry takes on a disk beside its content, and the step in which content takes room."""


class Places:
    """The folders below the root that a restore has to go around, as paths relative to it.

    `mounts` can't be renamed, nor can anything be renamed into or out of them; `mounted_files` are mounts as well,
    each of a single file, which nothing can take the place of. `protected` is not Kimai's (a target for backups
    within `var/data`) and stays where it is. `fixed`: all mounts and every folder on the way to them or to what is
    protected; a restore replaces what is in them, one by one, and not the folders themselves.
    """

    def __init__(self, root: Path, paths: Iterable[str], protect: Iterable[Path] = ()) -> None:
        on_the_way = [path.encode() for path in paths]
        self.mounts = _other_devices(root, on_the_way)
        self.mounted_files: set[bytes] = set()
        for mount in mounts_below(root):
            if any(is_within(mount, path) or is_within(path, mount) for path in on_the_way):
                (self.mounted_files if (root / os.fsdecode(mount)).is_file() else self.mounts).add(mount)
        inside = (relative_to(path, root) for path in protect if path.exists())
        self.protected = {path for path in inside if path}
        self.fixed = {*self.mounts, *self.mounted_files}
        for path in (*self.mounts, *self.mounted_files, *self.protected):
            self.fixed.update(_ancestors(path))

    def base_of(self, path: bytes) -> bytes:
        """The mount that a path's folder lies on; empty for that of the root itself."""
        return max((each for each in _ancestors(path) if each in self.mounts), key=len, default=b"")

    def is_protected(self, path: bytes) -> bool:
        """Whether a path is, or lies in, what is not Kimai's."""
        return any(is_within(path, each) for each in self.protected)


def _ancestors(path: bytes) -> list[bytes]:
    """The folders above a path, the root left out."""
    found = []
    folder, _ = parent_of(path)
    while folder:
        found.append(folder)
        folder, _ = parent_of(folder)
    return found


def _other_devices(root: Path, paths: Iterable[bytes]) -> set[bytes]:
    """Folders on the way to the paths that begin another device: subvolumes, too, which no mount table has."""
    found = set()
    for path in paths:
        above = root.stat().st_dev
        for part in (*reversed(_ancestors(path)), path):
            try:
                status = os.lstat(os.path.join(os.fsencode(root), part))  # noqa: PTH118 - bytes
            except OSError:
                break
            if stat.S_ISDIR(status.st_mode) and status.st_dev != above:
                found.add(part)
            above = status.st_dev
    return found


class Room(NamedTuple):
    """What a restore needs on one mount, and what is free there, in bytes."""

    folder: Path
    needed: int
    free: int


def room(root: Path, files: Iterable[File], paths: Iterable[str]) -> list[Room]:
    """What staging the files needs, for each mount that they go to; what is there stays until the end, so in full.

    `paths`: the user data of the target (`user_data`). Raises `OSError` where a mount does not answer.
    """
    places = Places(root, paths)
    needed: dict[bytes, int] = {}
    for file in files:
        if exact_path(file) in places.fixed:
            continue  # it is there, and stays
        base = places.base_of(exact_path(file))
        content = -(-file.size // ENTRY_COST) * ENTRY_COST
        needed[base] = needed.get(base, 0) + content + ENTRY_COST
    found = []
    for base, size in sorted(needed.items()):
        folder = root / os.fsdecode(base)
        status = os.statvfs(folder)
        found.append(Room(folder, size, status.f_bavail * status.f_frsize))
    return found
