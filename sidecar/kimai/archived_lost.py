"""What of a backup's files a Kimai in its container has lost, as the engine's archive endpoint tells."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import IO

from sidecar.kimai.archived import members, tar_faults_named
from sidecar.kimai.beneath import exact_path
from sidecar.kimai.containerfiles import ContainerFiles
from sidecar.kimai.docker import NotThere
from sidecar.kimai.lost import Compared, Seen
from sidecar.manifest import File

BLOCK = 1 << 20
"""Bytes of a file compared at once."""


def compare_archived(
    engine: ContainerFiles, container: str, root: str, files: Sequence[File], compared: Compared
) -> None:
    """Compare with what Docker gives of a container, in as few questions as the files have tops."""
    there: dict[bytes, Seen] = {}
    wanted = {exact_path(file) for file in files}
    for top in _tops(wanted):
        there |= dict(_archived(engine, container, root, top, wanted))
    for file in files:
        compared.add(file, there.get(exact_path(file)))


def _tops(paths: Iterable[bytes]) -> Iterator[bytes]:
    """The paths that lie in no other one of them."""
    last: bytes | None = None
    for path in sorted(paths, key=lambda path: path.split(b"/")):
        if last is None or not path.startswith(last + b"/"):
            last = path
            yield path


def _archived(
    engine: ContainerFiles, container: str, root: str, top: bytes, wanted: set[bytes]
) -> Iterator[tuple[bytes, Seen]]:
    name = os.fsdecode(top)
    try:
        with engine.fetch(container, f"{root}/{name}") as stream:
            for tar, member, exact in members(stream, name):
                if exact in wanted:
                    with tar_faults_named(name):
                        content = tar.extractfile(member) if member.isreg() else None
                        yield exact, _seen(member.isdir(), member.linkname if member.issym() else None, content)
    except NotThere:
        return


def _seen(is_folder: bool, target: str | None, content: IO[bytes] | None) -> Seen:
    if is_folder:
        return "folder", None
    if target is not None:
        return "link", os.fsencode(target).hex()
    if content is None:
        return "device", None
    digest = hashlib.sha256()
    with closing(content):
        while block := content.read(BLOCK):
            digest.update(block)
    return "file", digest.hexdigest()
