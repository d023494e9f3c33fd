"""One streaming zip out of entries that come one after the other, hashed on its way to the file."""

import hashlib
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from sidecar.archive.encrypting import encrypted
from sidecar.archive.entries import DIRECTORY_LIMIT, ENTRIES_LIMIT
from sidecar.errors import Refused, SpoolFailed
from sidecar.manifest import Archive

if TYPE_CHECKING:
    from sidecar.archive.zipstream import Compressor, ZipStream

DEFLATE_LEVEL = 2
"""ISA-L's: 0 to 3. On SQL, 2 is as fast as 1 and twice as fast as 3, at nearly 3's ratio."""

EARLIEST = 315_532_800
"""1980-01-01 in seconds since 1970: a zip's dates begin there."""

LATEST = 2**31 - 1
"""2038-01-19: a zip's extended timestamp is a signed 32-bit number. The manifest keeps the exact time."""

_COMPRESSED = re.compile(
    r"\.(7z|avif|br|bz2|docx|epub|gif|gz|heic|jar|jpe?g|m4a|mkv|mov|mp[34]|od[pst]|ogg|phar|png|pptx|rar|t[bgx]z2?"
    r"|web[mp]|woff2?|xlsx|xz|zip|zst)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link on its way into an archive.

    `name` as `escape_name` wrote it, a folder's with a slash at its end; `mode` is st_mode, type included;
    `mtime_ns` in nanoseconds since 1970; `chunks` is read once, when the entry's turn has come, and its
    pieces are compressed as they are: some 1 MB each is best. A link's only chunk is its target. `stored`
    spares the work on data that is compressed already (see `is_compressed`).
    """

    name: str
    mode: int
    mtime_ns: int
    chunks: Iterable[bytes]
    stored: bool = False


def is_compressed(name: str) -> bool:
    """Whether a file of this name is compressed already, so that deflate would only cost time."""
    return _COMPRESSED.fullmatch(PurePosixPath(name).suffix) is not None


def write_archive(entries: Iterable[Entry], file: BinaryIO, recipients: Sequence[str] = ()) -> Archive:
    """Write the entries as one zip to `file`, and tell its size in bytes and its SHA-256: encrypted, where there are
    age recipients, and then size and hash are of that.

    Each entry is asked for only after the one before it has been read to its end, so the last one (the
    manifest) may be made from what the others turned out to be. The file needs no seeking, and stays open:
    fsync is the caller's. Raises `SpoolFailed` where the file takes no more, `Refused` for more entries than a
    restore reads (DIRECTORY_LIMIT, ENTRIES_LIMIT), `ValueError` for a name that comes twice (no reader could tell the
    two apart); errors of the entries themselves pass as they are.
    """
    from sidecar.archive.zipstream import ZipStream  # Loaded here: only a backup needs ISA-L.

    out = _HashedFile(file)
    with encrypted(out, recipients) if recipients else nullcontext(out.write) as write:
        _write_entries(entries, ZipStream(write))
    out.flush()
    return Archive(size=out.size, sha256=out.digest.hexdigest())


def _write_entries(entries: Iterable[Entry], archive: "ZipStream") -> None:
    names = set()
    for entry in entries:
        if entry.name in names:
            raise ValueError(f"archive would hold {entry.name!r} twice")
        names.add(entry.name)
        seconds = min(max(entry.mtime_ns // 10**9, EARLIEST), LATEST)
        if stat.S_ISDIR(entry.mode) or stat.S_ISLNK(entry.mode):
            archive.add_whole(entry.name, entry.mode, seconds, b"".join(entry.chunks))
        else:
            archive.add_stream(entry.name, entry.mode, seconds, entry.chunks, _compressor(stored=entry.stored))
        if archive.directory_size > DIRECTORY_LIMIT or len(names) > ENTRIES_LIMIT:
            raise Refused(
                f"the archive's directory has grown to {archive.directory_size} bytes after {len(names)} entries, "
                f"more than a restore reads ({DIRECTORY_LIMIT}, {ENTRIES_LIMIT} entries)",
                mend="Look for a folder with very many files among Kimai's user data.",
            )
    archive.finish()


def _compressor(*, stored: bool) -> "Compressor":
    from isal import isal_zlib

    # Level 0 of ISA-L compresses a little; zlib's doesn't at all. A method that truly stores would need the
    # size and CRC beforehand.
    if stored:
        return zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)
    return isal_zlib.compressobj(level=DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS)


class _HashedFile:
    """The file that the zip goes to, with the size and SHA-256 of what went there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        with self._storage_errors():
            left = memoryview(piece)
            while left:  # An unbuffered file may take a part only.
                left = left[self._file.write(left) :]
        self.digest.update(piece)
        self.size += len(piece)

    def flush(self) -> None:
        with self._storage_errors():
            self._file.flush()

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = getattr(self._file, "name", "the archive")
            reason = error.strerror or str(error)
            raise SpoolFailed(f"{where} can't be written: {reason}", mend="Make room there, then try again.") from error
