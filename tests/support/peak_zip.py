"""Opens a zip in a process of its own and prints its entries, or why not, and the most memory that took, in MiB.

`python -m tests.support.peak_zip ZIP`; measured as in `tests.support.peak`.
"""

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from sidecar.archive.entries import HostileZip
from sidecar.errors import Damaged


def directory_of(path: Path, names: Iterator[bytes]) -> int:
    """Write a zip that is all directory, a record for each name; returns the directory's size in bytes."""
    records = b"".join(
        struct.pack(
            "<4s4B4HL2L5H2L",
            b"PK\1\2",
            20,
            3,
            20,
            0,
            0x800,
            0,
            0,
            33,
            0,
            0,
            0,
            len(name),
            0,
            0,
            0,
            0,
            0o100644 << 16,
            0,
        )
        + name
        for name in names
    )
    size = len(records)
    local = b"PK\3\4" + bytes(26)
    zip64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 0, 0, size, len(local))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(local) + size, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(local + records + zip64 + locator + end)
    return size


if __name__ == "__main__":
    try:
        print(len(HostileZip(Path(sys.argv[1])).members))
    except Damaged as error:
        print(error)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(int(peak[1]) // 1024)
