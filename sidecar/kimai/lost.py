"""What of a backup's files a Kimai has lost: not there, there as in the backup, or something else in its place."""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.errors import Refused
from sidecar.kimai.beneath import FILE_FLAGS, exact_path, open_folder, open_root, parent_of, status_of
from sidecar.manifest import File

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


Seen = tuple[str, str | None]
"""What lies somewhere: its kind, and a file's SHA-256 or a link's target in hexadecimal digits."""


@dataclass
class Compared:
    """The backup's files by how they stand: `lost`, `equal`, or `taken` by something else."""

    lost: list[File] = field(default_factory=list)
    equal: list[File] = field(default_factory=list)
    taken: list[File] = field(default_factory=list)

    def add(self, file: File, there: Seen | None) -> None:
        """Sort one file in by what lies in its place."""
        if there is None:
            self.lost.append(file)
        elif there == _wanted(file):
            self.equal.append(file)
        else:
            self.taken.append(file)


def _wanted(file: File) -> Seen:
    """Kind and content of a file in the backup; what has no digest is equal to nothing."""
    if file.kind == "folder":
        return "folder", None
    if file.kind == "link":
        target = (file.target or "").encode() if file.target_bytes is None else file.target_bytes
        return "link", target.hex()
    return "file", file.sha256 or ""


def compare_local(root: Path, files: Iterable[File], compared: Compared) -> None:
    """Compare with what lies below a root on this machine. Raises `Refused` where it can't be looked at."""
    descriptor = open_root(root)
    try:
        for file in files:
            try:
                compared.add(file, _local(descriptor, exact_path(file)))
            except OSError as error:
                raise Refused(
                    f"{file.path} in KIMAI_DIR can't be looked at: {error.strerror}",
                    mend="If a folder on the way is a link or a file, make it a folder; else run the restore as root.",
                ) from error
    finally:
        os.close(descriptor)


def _local(root: int, path: bytes) -> Seen | None:
    status = status_of(root, path)
    if status is None:
        return None
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "device")
    if kind not in ("file", "link"):
        return kind, None
    folder, name = parent_of(path)
    parent = open_folder(root, folder)
    try:
        if kind == "link":
            return kind, os.readlink(name, dir_fd=parent).hex()
        with os.fdopen(os.open(name, FILE_FLAGS, dir_fd=parent), "rb", buffering=0) as content:
            return kind, hashlib.file_digest(content, "sha256").hexdigest()
    finally:
        os.close(parent)
