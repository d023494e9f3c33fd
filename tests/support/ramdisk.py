"""Where servers of the tests keep what they write: in memory where there is room, so that no test waits for a disk."""

import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes: a server takes some hundred megabytes, and there are several to each worker. A container's 64 MB won't do."""


def new_folder(prefix: str) -> Path:
    """A folder of this name's beginning, for whoever makes it to remove: in memory, else among temporary files."""
    in_memory = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= ROOM
    return Path(tempfile.mkdtemp(prefix=prefix, dir=SHARED_MEMORY if in_memory else None))
