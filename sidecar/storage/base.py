"""What a target for backups must be able to do: five verbs, and what each one guarantees."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


class ObjectInfo(NamedTuple):
    """One object on a target: its key (a file name, no folders) and its size in bytes.

    `locked`, which only `stat` tells, says why the target would not let it go: `locked until …`.
    """

    key: str
    size: int
    locked: str | None = None


FETCHED = "fetched-"
"""How the folders begin that objects are brought to: what a killed run left of them is found by that."""

Source = Path | bytes
"""What `put` stores: a finished file, read from its start at each try and never changed, or a small text."""


class Storage(Protocol):
    """A target. Every verb raises `StorageFailed` where the target refuses, `StorageAway` where it does not answer."""

    @property
    def name(self) -> str:
        """How users call this target: `local`, `s3`."""

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        """Store the source under the key, all or nothing, replacing what was there.

        `sha256` of the source, in hexadecimal: who knows it spares a target that keeps it one reading of the file.
        Once it returns the object survives a power cut; until then `list`, `stat` and `open` don't show any of it.
        """

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes as a stream that the caller closes.

        Raises `ObjectNotFound`, and `Damaged` where the target can tell that they are not what was stored.
        """

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size, and whether it is locked. Raises `ObjectNotFound`."""

    def list(self) -> Iterator[ObjectInfo]:
        """Every whole object, by key in ascending order of code points; one cheap request a page, none an object."""

    def delete(self, key: str) -> None:
        """Remove the object; one that isn't there is no error."""


Fetch = Callable[[Storage, str], AbstractContextManager[Path]]
"""Gives an object as a file on this machine, for readers that must jump about in it."""


def check_key(key: str) -> None:
    """Raise `ValueError`, a fault of the caller, unless the key is a plain, visible file name in UTF-8."""
    if not key or key.startswith(".") or "/" in key or "\0" in key:
        raise ValueError(f"{key!r} can't be the name of a stored object")
    key.encode()


class Spooled(io.BufferedReader):
    """An object brought to this machine as a file of its own, `path`, which is gone once the stream is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "rb"), 1 << 20)
        self.path = path

    def close(self) -> None:
        """Close the stream and remove the file, with the folder that was made for it."""
        super().close()
        shutil.rmtree(self.path.parent, ignore_errors=True)
