"""What of a backup's files a Kimai in its container has lost, as the engine's archive endpoint tells."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import closing
from typing import IO

from sidecar.kimai.archived import members, tar_faults_named
from sidecar.kimai.beneath import exact_path, parent_of
from sidecar.kimai.containerfiles import ContainerFiles, NotThere
from sidecar.kimai.lost import Compared, Seen
from sidecar.manifest import File

BLOCK = 1 << 20
"""Bytes of a file compared at once."""


def compare_archived(
    engine: ContainerFiles, container: str, root: str, files: Iterable[File], compared: Compared
) -> None:
    """Compare with what lies below a root in a container, a question for each file. Raises `Unreachable`.

    Of a folder's answer only the beginning is read, which is the folder itself; what is below one that is lost isn't
    asked for.
    """
    found: dict[bytes, Seen | None] = {}
    for file in sorted(files, key=lambda file: exact_path(file).split(b"/")):
        path = exact_path(file)
        above, _ = parent_of(path)
        found[path] = None if found.get(above, ("folder", None)) is None else _seen(engine, container, root, path)
        compared.add(file, found[path])


def _seen(engine: ContainerFiles, container: str, root: str, path: bytes) -> Seen | None:
    name = os.fsdecode(path)
    try:
        with engine.fetch(container, f"{root}/{name}") as stream:
            for tar, member, _ in members(stream, name):
                if member.isdir():
                    return "folder", None
                if member.issym():
                    return "link", os.fsencode(member.linkname).hex()
                with tar_faults_named(name):
                    content = tar.extractfile(member) if member.isreg() else None
                    return ("device", None) if content is None else ("file", _digest(content))
    except NotThere:
        pass
    return None


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    with closing(content):
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
