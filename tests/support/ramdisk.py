"""Where servers of the tests keep what they write: in memory where there is room, so that no test waits for a disk."""

import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
ROOM = 8 << 30
"""Bytes: an S3 store grows to 800 MB, a database server to 230, and each of four workers has some of both, all of which
may find that room at the same moment. A container's 64 MB won't do."""


def new_folder(prefix: str) -> Path:
    """A folder of this name's beginning, for whoever makes it to remove: in memory, else among temporary files."""
    in_memory = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= ROOM
    return Path(tempfile.mkdtemp(prefix=prefix, dir=SHARED_MEMORY if in_memory else None))
