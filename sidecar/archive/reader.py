"""One of our archives, read back: trusted in nothing before it was compared with its manifest."""

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Self

import msgspec

from sidecar import manifest as manifests
from sidecar.archive.entries import BLOCK, MANIFEST_LIMIT, HostileZip
from sidecar.archive.names import escape_name, safe_path
from sidecar.errors import Damaged
from sidecar.manifest import DATABASE_NAME, INNER_NAME, Archive, File, Manifest

_TYPES = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK}
_OWNER_LIMIT = 2**32 - 1
_TIME_LIMIT = 2**63


class _Expected(NamedTuple):
    kind: Literal["file", "folder", "link"]
    size: int
    sha256: str | None


class ArchiveReader:
    """A local `ID.zip`: `check` it against its manifest, then `open` what that names, or `verify` every byte.

    Every method raises `Damaged` for an archive that is cut, changed or made to harm, `StorageFailed` where
    its file can't be read, and the constructor `NoSuchBackup` where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._zip = HostileZip(path)
        self._inner: Manifest | None = None
        self._checked: Manifest | None = None
        self._expected: dict[str, _Expected] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    def read_manifest(self) -> Manifest:
        """The manifest from inside, which is always the last entry; at most MANIFEST_LIMIT bytes."""
        if self._inner is not None:
            return self._inner
        last = next(reversed(self._zip.members.values()), None)
        if last is None or last.path != INNER_NAME or last.kind != "file":
            raise Damaged(f"{self._zip.path.name} does not end with {INNER_NAME}", mend="It is not one of our backups.")
        self._inner = manifests.decode(self._zip.read(last, MANIFEST_LIMIT))
        return self._inner

    def measure(self) -> Archive:
        """The zip's own size and SHA-256, as it lies there, which no manifest inside it can tell."""
        return Archive(size=self._zip.size(), sha256=self._zip.sha256())

    def check(self, manifest: Manifest) -> None:
        """Compare the archive with its manifest in all but the entries' own bytes; afterwards `open` works.

        With `manifest.archive`, the zip's size and SHA-256; always, the manifest inside; that both name
        exactly the same entries, of the same kind and size; that no name, mode, owner, time or link in it
        is a trap.
        """
        label = self._zip.path.name
        if manifest.archive is not None:
            size = self._zip.size()
            if size != manifest.archive.size:
                raise Damaged(f"{label} has {size} bytes, its manifest says {manifest.archive.size}")
            if self._zip.sha256() != manifest.archive.sha256:
                raise Damaged(f"{label} is not the zip that was stored: its SHA-256 differs")
        if not _same(self.read_manifest(), manifest):
            raise Damaged(f"{label} holds another manifest than the one beside it")
        expected = _expected_entries(manifest)
        self._compare_names(expected)
        for name, want in expected.items():
            member = self._zip.members[name]
            if member.kind != want.kind:
                raise Damaged(f"{label} holds {name!r} as a {member.kind}, its manifest says {want.kind}")
            if member.info.file_size != want.size:
                raise Damaged(f"{label} holds {name!r} with {member.info.file_size} bytes, not {want.size}")
        self._expected = expected
        self._checked = manifest

    def open(self, name: str) -> BinaryIO:
        """Give the bytes of a file that the manifest names, or a link's target; only after `check`.

        Reading raises `Damaged` before it hands out the last bytes of a file that isn't what was backed up.
        """
        want = self._expected.get(name)
        if want is None:
            raise Damaged(f"{self._zip.path.name} has no checked entry {name!r}")
        return self._zip.open(self._zip.members[name], want.size, want.sha256)

    def verify(self, manifest: Manifest, progress: Callable[[int], None] | None = None) -> None:
        """`check` where that was not done yet, then compare every entry's bytes with the manifest's SHA-256.

        `progress` is told how many more bytes were read, unpacked: in all `manifest.database.size` and
        every file's.
        """
        if manifest is not self._checked:  # The whole zip is hashed there: once is enough.
            self.check(manifest)
        for name in sorted(self._expected, key=lambda name: self._zip.members[name].info.header_offset):
            with self.open(name) as stream:
                while block := stream.read(BLOCK):
                    if progress is not None:
                        progress(len(block))

    def _compare_names(self, expected: dict[str, _Expected]) -> None:
        label, found = self._zip.path.name, self._zip.members.keys() - {INNER_NAME}
        if lacking := sorted(expected.keys() - found):
            raise Damaged(f"{label} lacks {lacking[0]!r} ({len(lacking)} in all), which its manifest names")
        if strange := sorted(found - expected.keys()):
            raise Damaged(f"{label} holds {strange[0]!r} ({len(strange)} in all), which its manifest doesn't name")


def _same(inner: Manifest, outer: Manifest) -> bool:
    outer = msgspec.structs.replace(outer, archive=None)
    # One that was never written may hold tuples where the one that was read has lists: equal as text is
    # enough.
    return inner == outer or manifests.encode(inner) == manifests.encode(outer)


def _expected_entries(manifest: Manifest) -> dict[str, _Expected]:
    expected = {DATABASE_NAME: _Expected("file", manifest.database.size, None)}
    for file in manifest.files:
        name = str(safe_path(file.path))
        if name in expected or name == INNER_NAME:
            raise Damaged(f"manifest names {name!r} twice", mend="Don't trust this archive.")
        expected[name] = _expected_entry(file)
    return expected


def _expected_entry(file: File) -> _Expected:
    """What the archive must hold for one file of the manifest, whose fields can be trusted afterwards."""
    if file.path_bytes is not None and escape_name(file.path_bytes) != file.path:
        raise Damaged(f"manifest gives {file.path!r} another exact name, {file.path_bytes!r}")
    if not 0 <= file.mode <= 0o177777 or stat.S_IFMT(file.mode) not in (0, _TYPES[file.kind]):
        raise Damaged(f"manifest gives the {file.kind} {file.path!r} the mode {file.mode:o}")
    owned = 0 <= file.uid < _OWNER_LIMIT and 0 <= file.gid < _OWNER_LIMIT
    if not owned or abs(file.mtime) >= _TIME_LIMIT:
        raise Damaged(f"manifest gives {file.path!r} an owner or time that no file has")
    if file.kind == "folder":
        return _Expected("folder", 0, hashlib.sha256().hexdigest())
    if file.kind == "link":
        target = link_target(file)
        return _Expected("link", len(target), hashlib.sha256(target).hexdigest())
    if file.sha256 is None:
        raise Damaged(f"manifest names {file.path!r} without its SHA-256")
    return _Expected("file", file.size, file.sha256)


def link_target(file: File) -> bytes:
    """A link's exact target. Raises `Damaged` where the manifest has none, or two."""
    if not file.target or (file.target_bytes is not None and escape_name(file.target_bytes) != file.target):
        raise Damaged(f"manifest gives the link {file.path!r} no clear target")
    return file.target.encode() if file.target_bytes is None else file.target_bytes
