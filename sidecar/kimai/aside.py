"""What an exchange of files has set aside, as it would be read for a backup: to tell whether one holds all of it."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from sidecar.kimai.beneath import FILE_FLAGS, below, is_within, list_names, parent_of
from sidecar.kimai.setaside import Exchange, faults_named, opened
from sidecar.kimai.userdata import NOT_USER_DATA


@dataclass(frozen=True)
class SetAside:
    """One file or link: its path below Kimai's root, size in bytes, mtime in nanoseconds; `digest`: its SHA-256."""

    path: bytes
    kind: Literal["file", "link"]
    size: int
    mtime: int
    digest: Callable[[], str]


def set_aside(root: int, exchange: Exchange) -> Iterator[SetAside]:
    """All files and links that the exchange has set aside below an open Kimai root. Raises `StorageFailed`."""
    with faults_named("what was set aside in KIMAI_DIR can't be looked at"):
        for unit in exchange.journal.units:
            if unit.existed:
                folder, name = parent_of(exchange.aside("old", unit))
                yield from _below(root, folder, name, os.fsencode(unit.path))


def _below(root: int, folder: bytes, name: bytes, path: bytes) -> Iterator[SetAside]:
    if any(is_within(path, each.encode()) for each in NOT_USER_DATA):
        return
    with opened(root, folder) as descriptor:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        names = []
        if stat.S_ISDIR(status.st_mode):
            with opened(descriptor, name) as inner:
                names = sorted(list_names(inner))
    place = below(folder, name)
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
        kind: Literal["file", "link"] = "file" if stat.S_ISREG(status.st_mode) else "link"
        yield SetAside(path, kind, status.st_size, status.st_mtime_ns, lambda: _digest(root, place))
    for each in names:
        yield from _below(root, place, each, below(path, each))


def _digest(root: int, place: bytes) -> str:
    folder, name = parent_of(place)
    with (
        faults_named(f"{os.fsdecode(place)} in KIMAI_DIR can't be read"),
        opened(root, folder) as descriptor,
        os.fdopen(os.open(name, FILE_FLAGS, dir_fd=descriptor), "rb") as stream,
    ):
        return hashlib.file_digest(stream, "sha256").hexdigest()
