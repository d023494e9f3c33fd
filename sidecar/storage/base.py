"""What a target for backups must be able to do: five verbs, and what each one guarantees."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


class ObjectInfo(NamedTuple):
    """One object on a target: its key (a file name, no folders) and its size in bytes."""

    key: str
    size: int


Source = Path | bytes
"""What `put` stores: a finished file, read from its start at each try and never changed, or a small text."""


class Storage(Protocol):
    """A target. Every verb raises `StorageFailed` where the target refuses or does not answer."""

    @property
    def name(self) -> str:
        """How users call this target: `local`, `s3`."""

    def put(self, key: str, source: Source) -> None:
        """Store the source under the key, all or nothing, replacing what was there.

        Once it returns the object survives a power cut; until then `list`, `stat` and `open` don't show any of it.
        """

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes as a stream that the caller closes. Raises `ObjectNotFound`."""

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size. Raises `ObjectNotFound`."""

    def list(self) -> Iterator[ObjectInfo]:
        """Every whole object, by key in ascending order of code points; one cheap request a page, none an object."""

    def delete(self, key: str) -> None:
        """Remove the object; one that isn't there is no error."""


def check_key(key: str) -> None:
    """Raise `ValueError`, a fault of the caller, unless the key is a plain, visible file name in UTF-8."""
    if not key or key.startswith(".") or "/" in key or "\0" in key:
        raise ValueError(f"{key!r} can't be the name of a stored object")
    key.encode()
