"""Downloads from a bucket: large objects in parts into a file, each object held against its SHA-256."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sidecar.errors import Damaged, StorageAway, StorageFailed
from sidecar.storage.base import FETCHED, Spooled
from sidecar.storage.bucket import WORKERS, Bucket
from sidecar.storage.parts import Span, done_in_order, spans

_BLOCK = 1 << 17
"""Bytes read at once. Of 16 KiB to 1 MiB this was the fastest, and the only one that took as long every time: larger
blocks cost new memory for each."""


class Downloads:
    """What is fetched from the bucket. `spool` gives the folder for it."""

    def __init__(self, bucket: Bucket, spool: Callable[[], Path]) -> None:
        self._bucket = bucket
        self._spool = spool

    def fetch(self, key: str, size: int, etag: str, digest: str | None) -> Spooled:
        """Bring an object to this machine as a file. Raises `Damaged`, and `StorageFailed` where it has no room."""
        folder = self._spool()
        free = shutil.disk_usage(folder).free
        if free < size:
            raise StorageFailed(
                f"{key} has {size} bytes, and {folder} has room for {free}",
                mend="Make room there, or set BACKUP_STATE_DIR to a folder on a larger disk.",
            )
        path = Path(tempfile.mkdtemp(prefix=FETCHED, dir=folder)) / key
        try:
            with path.open("x+b", buffering=0) as file:
                found = self._receive(key, size, etag, file.fileno())
            self.compare(key, found, digest)
            return Spooled(path)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise

    def _receive(self, key: str, size: int, etag: str, descriptor: int) -> str:
        """Fetch all parts into the file; its SHA-256 is taken while the later ones are still on their way."""

        def receive(part: Span) -> None:
            with self._bucket.explained(f"read {key}", key):
                last = part.offset + part.size - 1
                found = self._bucket.client.get_object(
                    **self._bucket.at(key),
                    Range=f"bytes={part.offset}-{last}",
                    IfMatch=etag,
                )
                at = part.offset
                with closing(found["Body"]) as body:
                    while block := body.read(_BLOCK):
                        at += os.pwrite(descriptor, block, at)
                if at != part.offset + part.size:
                    raise StorageAway(f"bucket {self._bucket.name} gave {at - part.offset} bytes of {part.size}")

        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK))
        for part in done_in_order(spans(size), receive, WORKERS):
            at, end = part.offset, part.offset + part.size
            while got := os.preadv(descriptor, [buffer[: end - at]], at):
                digest.update(buffer[:got])
                at += got
        return digest.hexdigest()

    def compare(self, key: str, found: str, stored: str | None) -> None:
        """An object that others copied here may bear no digest: then the manifest alone is left to tell."""
        if stored is not None and found != stored:
            raise Damaged(f"{key} in bucket {self._bucket.name} is not what was stored: its SHA-256 differs")
