"""A target in memory that keeps every promise of storage/base.py: the contract suite holds it to that."""

import io
import threading
from collections.abc import Iterator
from typing import BinaryIO

from sidecar.errors import ObjectNotFound, StorageFailed
from sidecar.storage.base import ObjectInfo, Source, check_key


class MemoryStorage:
    """Objects in a dictionary; `deletions` tells the order in which they went, `opened` what was read."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.deletions: list[str] = []
        self.opened: list[str] = []

    @property
    def name(self) -> str:
        return self._name

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        check_key(key)
        try:
            data = source if isinstance(source, bytes) else source.read_bytes()
        except OSError as error:
            raise StorageFailed(f"can't read {source!r}, which is to be stored: {error.strerror}") from error
        with self._lock:
            self._objects[key] = data

    def open(self, key: str) -> BinaryIO:
        self.opened.append(key)
        return io.BytesIO(self._found(key))

    def stat(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self._found(key)))

    def list(self) -> Iterator[ObjectInfo]:
        with self._lock:
            objects = sorted(self._objects.items())
        return iter([ObjectInfo(key, len(data)) for key, data in objects])

    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            if self._objects.pop(key, None) is not None:
                self.deletions.append(key)

    def _found(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{key} is not in {self._name}")
            return self._objects[key]
