"""Where an archive grows: beside its place on the local target, or, once that disk fails, elsewhere for the others."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sidecar.catalog import LOCAL
from sidecar.errors import SpoolFailed, StorageFailed
from sidecar.manifest import Manifest
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)


class Spool(Protocol):
    """Where archives grow before they are published."""

    def file(self, key: str) -> Path:
        """An empty file that is to become the object of this key."""

    def other_file(self, key: str, failed: Path, needed: int) -> Path | None:
        """The same where the local target can fail alone; None without another target, or a disk with room for it."""

    def sweep(self, now: datetime) -> Sequence[str]:
        """Remove what killed runs of this instance left, and say so. For the holder of the lock."""


@dataclass(frozen=True)
class Grown:
    """An archive, its manifest, the targets that it is for, and by name why it is no longer for others."""

    path: Path
    manifest: Manifest
    storages: Sequence[Storage]
    failed: Mapping[str, StorageFailed] = field(default_factory=dict)


@contextmanager
def grown(
    spool: Spool, storages: Sequence[Storage], key: str, pack: Callable[[Path], Manifest], *, needed: int = 0
) -> Iterator[Grown]:
    """Have an archive packed into a file that is gone in the end.

    Where the local target's disk takes no more of it, it is packed anew elsewhere, once, and that target has failed.
    `needed`: so many bytes must be free there, as many as the backup before has, if one knows.
    Raises `StorageFailed`, the first one, where it can grow nowhere.
    """
    with _removed(spool.file(key)) as path:
        try:
            manifest = pack(path)
        except SpoolFailed as error:
            failure = error
        else:
            yield Grown(path, manifest, storages)
            return
    other = spool.other_file(key, path, needed)
    if other is None:
        raise failure
    log.error("target local failed: %s", failure)
    log.warning("the backup begins again in %s, for the other targets", other.parent)
    with _removed(other):
        try:
            manifest = pack(other)
        except SpoolFailed as error:
            log.warning("nor can it grow elsewhere: %s", error)
            raise failure from error
        yield Grown(other, manifest, [each for each in storages if each.name != LOCAL], {LOCAL: failure})


@contextmanager
def _removed(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # A disk that fails altogether; the next run's sweep tries again.
            log.warning("%s may be left: %s", path, error.strerror)
