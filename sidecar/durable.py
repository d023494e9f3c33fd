"""A small file that is there whole or not at all, even after a power cut."""

import os
from contextlib import suppress
from pathlib import Path


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, even after a power cut. Mode 0600. Raises `OSError`."""
    temporary = path.with_suffix(".part")
    try:
        with open(temporary, "wb", opener=_for_us_alone) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # A disk that is full stays so with what could not be written whole.
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
