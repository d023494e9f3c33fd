"""The zip format, written front to back without seeking, whatever the sizes turn out to be.

stream-zip, made for this, cuts the archive short without an error where an entry's header ends just where a
block does (0.0.84, its issue 189), which no backup may risk; zipfile takes no other deflate than zlib's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from struct import Struct
from time import gmtime
from typing import Protocol

from isal.isal_zlib import crc32

LIMIT_16 = 0xFFFF
LIMIT_32 = 0xFFFFFFFF
"""Numbers from here on are written as the limit, and in full in the zip64 records."""

_LOCAL = Struct("<4sHHHHHIIIHH")
_DESCRIPTOR = Struct("<4sIQQ")
_CENTRAL = Struct("<4sHHHHHHIIIHHHHHII")
_END_64 = Struct("<4sQHHIIQQQQ")
_LOCATOR_64 = Struct("<4sIQI")
_END = Struct("<4sHHHHIIH")
_TIMESTAMP = Struct("<2sHBi")
_ZIP64_LOCAL = Struct("<HHQQ")

_ZIP64 = 0x0001
_VERSION = 45
_MADE_ON_UNIX = 3 << 8 | _VERSION
_UTF8 = 0x0800
_SIZES_FOLLOW = 0x0008
_STORED = 0
_DEFLATED = 8
_DOS_FOLDER = 0x10


class Compressor(Protocol):
    """zlib's or ISA-L's object for one raw deflate stream."""

    def compress(self, data: bytes, /) -> bytes:
        """Take more in, give what is ready."""

    def flush(self) -> bytes:
        """Give the rest."""


@dataclass(slots=True)
class _Record:
    """What the directory says of an entry; CRC and sizes in bytes are known once it is written."""

    name: bytes
    mode: int
    seconds: int
    method: int
    flags: int
    offset: int
    crc: int = 0
    packed: int = 0
    size: int = 0

    def timestamp(self) -> bytes:
        return _TIMESTAMP.pack(b"UT", 5, 1, self.seconds)

    def dos_time(self) -> tuple[int, int]:
        year, month, day, hour, minute, second, *_ = gmtime(self.seconds)
        return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


class ZipStream:
    """Writes entries one after the other, then the directory; `write` takes every piece, in order.

    Names are UTF-8 text, a folder's ends in a slash. `mode` is st_mode; `seconds` since 1970, within 1980 to
    2038.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._offset = 0
        self._count = 0
        self._directory: list[bytes] = []
        self.directory_size = 0
        """Bytes that the directory takes so far."""

    def add_whole(self, name: str, mode: int, seconds: int, content: bytes) -> None:
        """Store a folder (no content), a link (its target), or something as small, as it is."""
        record = _Record(name.encode(), mode, seconds, _STORED, _UTF8, self._offset)
        record.crc = crc32(content)
        record.packed = record.size = len(content)
        self._put_local(record, (record.crc, record.packed, record.size), record.timestamp())
        self._put(content)
        self._close(record)

    def add_stream(self, name: str, mode: int, seconds: int, chunks: Iterable[bytes], compressor: Compressor) -> None:
        """Compress chunks as they come; their CRC and sizes follow them."""
        record = _Record(name.encode(), mode, seconds, _DEFLATED, _UTF8 | _SIZES_FOLLOW, self._offset)
        # zip64 from the start: nobody knows yet how long it will be, and the descriptor's width hangs on it.
        zip64 = _ZIP64_LOCAL.pack(_ZIP64, 16, 0, 0)
        self._put_local(record, (0, LIMIT_32, LIMIT_32), zip64 + record.timestamp())
        begin = self._offset
        for chunk in chunks:
            record.crc = crc32(chunk, record.crc)
            record.size += len(chunk)
            self._put(compressor.compress(chunk))
        self._put(compressor.flush())
        record.packed = self._offset - begin
        self._put(_DESCRIPTOR.pack(b"PK\x07\x08", record.crc, record.packed, record.size))
        self._close(record)

    def finish(self) -> None:
        """Write the directory; without it there is no zip."""
        begin = self._offset
        for central in self._directory:
            self._put(central)
        size = self._offset - begin
        if self._count >= LIMIT_16 or size >= LIMIT_32 or begin >= LIMIT_32:
            end = self._offset
            counts = (self._count, self._count)
            self._put(_END_64.pack(b"PK\x06\x06", 44, _MADE_ON_UNIX, _VERSION, 0, 0, *counts, size, begin))
            self._put(_LOCATOR_64.pack(b"PK\x06\x07", 0, end, 1))
        count = min(self._count, LIMIT_16)
        self._put(_END.pack(b"PK\x05\x06", 0, 0, count, count, min(size, LIMIT_32), min(begin, LIMIT_32), 0))

    def _put(self, piece: bytes) -> None:
        if piece:
            self._write(piece)
            self._offset += len(piece)

    def _put_local(self, record: _Record, numbers: tuple[int, int, int], extra: bytes) -> None:
        self._put(
            _LOCAL.pack(
                b"PK\x03\x04",
                _VERSION,
                record.flags,
                record.method,
                *record.dos_time(),
                *numbers,
                len(record.name),
                len(extra),
            )
            + record.name
            + extra
        )

    def _close(self, record: _Record) -> None:
        central = _central(record)
        self._directory.append(central)
        self.directory_size += len(central)
        self._count += 1


def _central(record: _Record) -> bytes:
    """The directory's record of an entry, with zip64 for the numbers that need it."""
    numbers = (record.size, record.packed, record.offset)
    large = [number for number in numbers if number >= LIMIT_32]
    zip64 = Struct(f"<HH{len(large)}Q").pack(_ZIP64, 8 * len(large), *large) if large else b""
    size, packed, offset = (min(number, LIMIT_32) for number in numbers)
    extra = zip64 + record.timestamp()
    attributes = record.mode << 16 | (_DOS_FOLDER if record.name.endswith(b"/") else 0)
    return (
        _CENTRAL.pack(
            b"PK\x01\x02",
            _MADE_ON_UNIX,
            _VERSION,
            record.flags,
            record.method,
            *record.dos_time(),
            record.crc,
            packed,
            size,
            len(record.name),
            len(extra),
            0,
            0,
            0,
            attributes,
            offset,
        )
        + record.name
        + extra
    )
