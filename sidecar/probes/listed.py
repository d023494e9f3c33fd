"""A target that is listed but once, whoever asks: what lies there, or why it can't be listed."""

from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

from sidecar.errors import StorageFailed
from sidecar.storage.base import ObjectInfo, Source, Storage


class Listed:
    """A target as its first listing found it. One that failed fails the same way for everybody who asks after that."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def name(self) -> str:
        """How users call this target."""
        return self._storage.name

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        """Store the source under the key; the listing knows nothing of it."""
        self._storage.put(key, source, sha256)

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes as a stream that the caller closes. Raises `ObjectNotFound`."""
        return self._storage.open(key)

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size, and whether it is locked. Raises `ObjectNotFound`."""
        return self._storage.stat(key)

    def list(self) -> Iterator[ObjectInfo]:
        """Every whole object of the first listing, by key. Raises what that one raised."""
        if isinstance(self._found, Exception):
            raise self._found
        return iter(self._found)

    def delete(self, key: str) -> None:
        """Remove the object; the listing knows nothing of it."""
        self._storage.delete(key)

    @cached_property
    def _found(self) -> tuple[ObjectInfo, ...] | StorageFailed | OSError:
        try:
            return tuple(self._storage.list())
        except (StorageFailed, OSError) as error:
            return error
