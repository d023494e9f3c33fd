"""A zip that somebody else wrote: opened, its entries checked and bounded, any damage one kind of error."""

import errno
import hashlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Literal, NamedTuple, Self

from sidecar.archive.names import escape_name, safe_path
from sidecar.errors import Damaged, KimaiBackupError, NoSuchBackup, StorageFailed

DIRECTORY_LIMIT = 16 << 20
"""Bytes that a zip's central directory may take: the one part that is read whole."""

ENTRIES_LIMIT = 100_000
"""Entries that a zip may have: each costs some 700 bytes of memory, and this many with all names 90 MB."""

_RECORD = b"PK\1\2"
"""How each record of the directory begins."""

MANIFEST_LIMIT = 64 << 20
"""Bytes that a manifest may take inside an archive: as many files again."""

BLOCK = 1 << 20
"""Bytes read from an entry at once."""

_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_UNIX = 3
_KINDS: dict[int, Literal["file", "link"]] = {0: "file", stat.S_IFREG: "file", stat.S_IFLNK: "link"}

# All that zipfile and zlib let out when an archive is not what it says.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Member(NamedTuple):
    """One entry: its checked path, what it is, and zipfile's own record of it."""

    path: str
    kind: Literal["file", "folder", "link"]
    info: zipfile.ZipInfo


class HostileZip:
    """A local zip, opened without trust: `members` holds its entries by path, in the directory's order.

    Raises `Damaged` for what isn't a whole zip, and for one with an unsafe name, a name twice, an entry
    below a file or link, a device, encryption, a compression other than deflate, or entries that share
    their bytes; `NoSuchBackup` where there is no such file, `StorageFailed` where it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _damage_named(path.name):
            self.file = _BoundedFile(path, "rb")
            try:
                self._zip = zipfile.ZipFile(self.file)
                self.members = self._checked_members()
            except BaseException:
                self.file.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; streams given out before end with it."""
        self._zip.close()
        self.file.close()

    def open(self, member: Member, size: int, sha256: str | None = None) -> BinaryIO:
        """Give a member's bytes: never more than `size`, and not its last ones before all are found right.

        Reading raises `Damaged` where the bytes are fewer or more, or their CRC or SHA-256 isn't the
        expected one.
        """
        label = f"{self.path.name}: {member.path}"
        with _damage_named(label):
            source = self._zip.open(member.info)
        return io.BufferedReader(_MemberStream(source, label, size, sha256), max(1, min(size, BLOCK)))

    def read(self, member: Member, limit: int) -> bytes:
        """A small member's bytes, whole. Raises `Damaged` for one larger than `limit` bytes."""
        size = member.info.file_size
        if size > limit:
            raise Damaged(f"{self.path.name}: {member.path} says it has {size} bytes, more than {limit}")
        with self.open(member, size) as stream:
            return stream.read()

    def sha256(self) -> str:
        """The SHA-256 of the zip itself, as it lies there."""
        digest = hashlib.sha256()
        with _damage_named(self.path.name):
            self.file.seek(0)
            while block := self.file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def size(self) -> int:
        """The size of the zip itself, in bytes."""
        with _damage_named(self.path.name):
            return self.file.seek(0, io.SEEK_END)

    def _checked_members(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        for info in self._zip.infolist():
            member = _checked_member(info)
            if member.path in members:
                raise Damaged(f"{self.path.name} holds {member.path!r} twice", mend="Don't trust this archive.")
            members[member.path] = member
        for path in members:
            above = next((members[parent] for parent in _parents(path) if parent in members), None)
            if above is not None and above.kind != "folder":
                raise Damaged(f"{self.path.name} holds something below the {above.kind} {above.path!r}")
        # Overlapping entries are how a small zip unpacks to petabytes.
        if sum(member.info.compress_size for member in members.values()) > self.size():
            raise Damaged(f"{self.path.name} has entries that overlap", mend="Don't trust this archive.")
        return members


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _checked_member(info: zipfile.ZipInfo) -> Member:
    """What one record of the directory stands for, if it is one that a backup may hold."""
    name, _ = decoded_name(info)
    path = str(safe_path(name))
    if info.flag_bits & _ENCRYPTED:
        raise Damaged(f"archive has {name!r} encrypted", mend="Decrypt it first: zip passwords are not supported.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Damaged(f"archive has {name!r} compressed by method {info.compress_type}, not by deflate")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise Damaged(f"archive has {name!r} stored, yet with two sizes")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if name.endswith("/"):
        if kind not in (0, stat.S_IFDIR) or info.file_size:
            raise Damaged(f"archive has the folder {name!r} with something in it that no folder has")
        return Member(path, "folder", info)
    if kind not in _KINDS:
        raise Damaged(f"archive has {name!r} as something other than a file, folder or link (mode {kind:o})")
    return Member(path, _KINDS[kind], info)


def decoded_name(info: zipfile.ZipInfo) -> tuple[str, bytes]:
    """An entry's name as text, and as the bytes that it had on its own file system.

    Info-ZIP on Unix (`zip -r`) stores a name's bytes without saying that they are UTF-8; zipfile takes such
    ones for DOS's code page, which covers every byte, so the bytes can be had back.
    """
    name = info.orig_filename
    if info.flag_bits & _UTF8 or info.create_system != _UNIX:
        return name, name.encode()
    exact = name.encode("cp437")
    try:
        return exact.decode(), exact
    except UnicodeDecodeError:
        return escape_name(exact), exact


class _BoundedFile(io.FileIO):
    """The zip's file for zipfile, which would read a directory of any size that the archive claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY_LIMIT:
            raise zipfile.BadZipFile(f"its directory would take {size} bytes")
        data = super().read(size)
        # Before zipfile makes an object of each; a signature within a name counts as well, and honest ones have none.
        if data.startswith(_RECORD) and (count := data.count(_RECORD)) > ENTRIES_LIMIT:
            raise zipfile.BadZipFile(f"it has {count} entries, more than {ENTRIES_LIMIT}")
        return data


class _MemberStream(io.RawIOBase):
    """One entry's bytes, counted and hashed on their way."""

    def __init__(self, source: IO[bytes], label: str, size: int, sha256: str | None) -> None:
        self._source = source
        self._label = label
        self._left = size
        self._sha256 = sha256
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        with _damage_named(self._label):
            data = self._source.read(len(buffer))
        self._left -= len(data)
        if self._left < 0 or (not data and self._left):
            raise Damaged(f"{self._label} has {'more' if self._left < 0 else 'fewer'} bytes than it should")
        if self._sha256 is not None:
            self._digest.update(data)
            if not self._left and self._digest.hexdigest() != self._sha256:
                raise Damaged(f"{self._label} is not what was backed up: its SHA-256 differs")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


@contextmanager
def _damage_named(label: str) -> Iterator[None]:
    """Turn whatever reading a broken zip may raise into `Damaged`, an I/O error into its own kind."""
    try:
        yield
    except KimaiBackupError:
        raise
    except FileNotFoundError as error:
        raise NoSuchBackup(f"{label} is not there") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # What seeking to a nonsensical place gives.
            raise StorageFailed(f"{label} can't be read: {error.strerror or error}") from error
        raise Damaged(f"{label} is damaged: it points outside itself") from error
    except _DAMAGE as error:
        raise Damaged(f"{label} is damaged: {str(error) or type(error).__name__}") from error
