"""Putting files into a container by the engine's archive endpoint: collected first, what was there kept, then sent."""

import hashlib
import io
import logging
import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.errors import Damaged
from sidecar.kimai.archived import forget, members, tar_faults_named
from sidecar.kimai.beneath import is_within
from sidecar.kimai.containerfiles import ContainerFiles, NotThere
from sidecar.kimai.setaside import faults_named
from sidecar.kimai.tree import HOSTILE, allowed_path, named_twice
from sidecar.manifest import File

log = logging.getLogger(__name__)

NEW, BEFORE = "new.tar", "before.tar"
"""What is to be sent, and what lay in its place. The second one is there, whole, exactly from before it is sent."""

_TYPES = {"folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "file": tarfile.REGTYPE}


class Upload:
    """Files for one container. `folder`: where they are collected, on a disk with room for them twice.

    `allowed`: the paths below `root` that may be written to. `add` them all, `send`; `put_back` until `clean_up`.
    """

    def __init__(self, engine: ContainerFiles, container: str, root: str, folder: Path, allowed: Iterable[str]) -> None:
        self.kept: list[str] = []
        self._engine = engine
        self._container = container
        self._root = root
        self._folder = folder
        self._allowed = [os.fsencode(path) for path in allowed]
        self._seen: dict[bytes, str] = {}
        self._tar: tarfile.TarFile | None = None

    def add(self, file: File, chunks: Iterable[bytes] = ()) -> None:
        """Collect one entry. Raises `Damaged` for what isn't as `file` says or leads elsewhere, `StorageFailed`."""
        path = self._checked(file)
        with self._faults():
            if self._tar is None:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._tar = tarfile.open(self._folder / NEW, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `_seal`
            content = _Checked(file, chunks)
            self._tar.addfile(_member(path, file), content if file.kind == "file" else None)
            forget(self._tar)
            if file.kind == "file":
                content.check()

    def send(self) -> None:
        """Keep what is in the way, then unpack all in the container. Raises `Unreachable`, `StorageFailed`."""
        if self._tar is None:
            return
        with self._faults():
            self._seal()
            self._keep()
        with (self._folder / NEW).open("rb") as tar:
            self._engine.store(self._container, self._root, tar)

    def put_back(self) -> list[str]:
        """Send back what was there. What wasn't there before can't be taken away this way: a sentence that names it."""
        self.close()
        new = put_back(self._engine, self._container, self._root, self._folder)
        self.clean_up()
        return [told_to_stay(new)] if new else []

    def settle(self) -> None:
        """What was sent stays: there is nothing to put back from here on, not even after a kill."""
        with self._faults():
            (self._folder / BEFORE).unlink(missing_ok=True)
            if self._folder.exists():
                _sync(self._folder)

    def close(self) -> None:
        """Collect no more; what was collected, or kept, stays for `put_back` or `remove`."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None

    def clean_up(self) -> None:
        """Delete what was collected; there is nothing to put back from then on."""
        self.close()
        with self._faults():
            remove(self._folder)

    def _checked(self, file: File) -> bytes:
        path, _ = allowed_path(file, self._allowed)
        if path in self._seen:
            raise named_twice(file)
        above, _, _ = path.rpartition(b"/")
        while above:
            if self._seen.get(above, "folder") != "folder":
                raise Damaged(f"backup leads through {os.fsdecode(above)!r}, which is no folder in it", mend=HOSTILE)
            above = above.rpartition(b"/")[0]
        self._seen[path] = file.kind
        return path

    def _seal(self) -> None:
        assert self._tar is not None  # noqa: S101 - `send` looked
        self._tar.close()
        _sync(self._folder / NEW)

    def _keep(self) -> None:
        """Fetch what lies at the paths that are about to be written; whole, or not at all."""
        part = self._folder / f"{BEFORE}.part"
        there: set[bytes] = set()
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as kept:
            for top in self._tops():
                there |= set(self._fetch(top, kept))
        _sync(part)
        part.rename(self._folder / BEFORE)
        _sync(self._folder)
        left = sorted(os.fsdecode(path) for path in there - {*self._seen})
        self.kept += left

    def _fetch(self, top: str, kept: tarfile.TarFile) -> Iterator[bytes]:
        try:
            with self._engine.fetch(self._container, f"{self._root}/{top}") as stream:
                for tar, member, exact in members(stream, top):
                    with tar_faults_named(top):
                        content = tar.extractfile(member) if member.isreg() else None
                        kept.addfile(_as_kept(member, exact, posixpath.dirname(top)), content)
                    forget(kept)
                    if not member.isdir():
                        yield exact
        except NotThere:
            return

    def _tops(self) -> list[str]:
        """The allowed paths that something goes to."""
        return [os.fsdecode(top) for top in self._allowed if any(is_within(path, top) for path in self._seen)]

    @contextmanager
    def _faults(self) -> Iterator[None]:
        with faults_named(f"{self._folder}, where the files for Kimai's container are collected, can't be written"):
            yield


class _Checked(io.RawIOBase):
    """Chunks as a file to read from, which must be as long as the manifest says and have its hash."""

    def __init__(self, file: File, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._file = file
        self._chunks = iter(chunks)
        self._digest = hashlib.sha256()
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, no fewer: tarfile takes that for the end. Raises `Damaged` where there are fewer."""
        pieces: list[memoryview] = []
        while size > 0:
            if not self._rest:
                self._rest = self._next()
            if not self._rest:
                raise self._fault()
            pieces.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _next(self) -> memoryview:
        chunk = next((chunk for chunk in self._chunks if chunk), b"")
        self._digest.update(chunk)
        return memoryview(chunk)

    def check(self) -> None:
        """Raise `Damaged` unless all was read, and has the right hash."""
        if self._rest or self._next() or self._file.sha256 not in (None, self._digest.hexdigest()):
            raise self._fault()

    def _fault(self) -> Damaged:
        return Damaged(f"{self._file.path} in the backup is not what its manifest says", mend=HOSTILE)


def put_back(engine: ContainerFiles, container: str, root: str, folder: Path) -> list[bytes]:
    """Send back what `Upload.send` kept, if it came so far. Raises `Unreachable`.

    Returns what wasn't there before: it can't be taken away this way, and stays.
    """
    before = folder / BEFORE
    if not before.exists():
        return []
    with before.open("rb") as tar:
        engine.store(container, root, tar)
    with faults_named(f"{folder} can't be read"):
        return sorted(_named(folder / NEW) - _named(before))


def told_to_stay(new: Iterable[bytes]) -> str:
    """What an admin is told of files that a restore brought and that stay."""
    shown = ", ".join(_in_a_line(path) for path in new)
    return f"what the restore brought and was not there stays in Kimai's container: {shown}"


def _in_a_line(path: bytes) -> str:
    """A name may hold whatever bytes: it becomes part of an error, which is one line of UTF-8."""
    text = path.decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _named(file: Path) -> set[bytes]:
    """All but folders in a tar of our own; none where there is none."""
    if not file.exists():
        return set()
    with tarfile.open(file) as tar:
        return {os.fsencode(member.name) for member in tar if not member.isdir()}


def remove(folder: Path) -> None:
    """Delete what an upload collected, what can be sent back first. Raises `OSError`."""
    (folder / BEFORE).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _as_kept(member: tarfile.TarInfo, exact: bytes, above: str) -> tarfile.TarInfo:
    """A member under its path below Kimai's root; `above`: the folder that the paths in its own tar are relative to.

    Made anew, as what its extended headers say of name and size would go before what is set here.
    """
    kept = tarfile.TarInfo(os.fsdecode(exact))
    kept.type = tarfile.REGTYPE if member.isreg() else member.type
    kept.linkname = posixpath.join(above, member.linkname) if member.islnk() else member.linkname
    kept.pax_headers = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
    for field in ("mode", "uid", "gid", "uname", "gname", "size", "mtime", "devmajor", "devminor"):
        setattr(kept, field, getattr(member, field))
    return kept


def _member(path: bytes, file: File) -> tarfile.TarInfo:
    member = tarfile.TarInfo(os.fsdecode(path))
    member.type = _TYPES[file.kind]
    # Another user's rights are not lent by a file that an archive brought.
    member.mode = stat.S_IMODE(file.mode) & (0o7777 if file.kind == "folder" else 0o777)
    member.uid, member.gid = file.uid, file.gid
    member.mtime = file.mtime / 10**9
    if file.kind == "file":
        member.size = file.size
    elif file.kind == "link":
        member.linkname = os.fsdecode(file.target_bytes or (file.target or "").encode())
    return member


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
