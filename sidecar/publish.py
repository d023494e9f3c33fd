"""Publish: on each target by itself the archive first, and after it the manifest that makes it a backup."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.errors import StorageFailed
from sidecar.manifest import Archive, BackupId, Manifest, encode
from sidecar.names import archive_key, manifest_key
from sidecar.report.progress import Progress
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)


@dataclass
class Published:
    """The names of the targets that took a backup, and by name the failures of those that did not."""

    targets: list[str] = field(default_factory=list)
    failed: dict[str, StorageFailed] = field(default_factory=dict)


def publish(storages: Sequence[Storage], manifest: Manifest, spooled: Path, progress: Progress) -> Published:
    """Put the spooled archive and its manifest on every target: one that fails doesn't keep the others from theirs.

    Raises the first target's `StorageFailed` where none took it.
    """
    done = Published()
    backup_id = BackupId.parse(manifest.id)
    assert backup_id is not None and manifest.archive is not None  # noqa: S101, PT018 - made just now
    # Only what may lie unencrypted goes beside an encrypted archive.
    key = archive_key(backup_id, encrypted=manifest.withheld is not None)
    for storage in storages:
        progress.phase(f"publish on {storage.name}")
        try:
            put_backup(storage, key, backup_id, manifest, manifest.archive, spooled)
        except StorageFailed as error:
            log.error("target %s failed: %s", storage.name, error)  # noqa: TRY400 - one line
            done.failed[storage.name] = error
        else:
            done.targets.append(storage.name)
    if not done.targets:
        raise next(iter(done.failed.values()))
    return done


def put_backup(
    storage: Storage, key: str, backup_id: BackupId, manifest: Manifest, archive: Archive, file: Path
) -> None:
    """Put an archive and its manifest on one target, or neither. Raises `StorageFailed`."""
    begun = [key]
    try:
        storage.put(key, file, archive.sha256)
        _check_stored(storage, key, archive)
        begun.insert(0, manifest_key(backup_id))
        storage.put(manifest_key(backup_id), encode(manifest))
    except BaseException:
        _take_back(storage, begun)
        raise


def _take_back(storage: Storage, keys: Sequence[str]) -> None:
    """The manifest first, which may be there although its answer never came: without its archive it would lie.

    Without its manifest the archive is no backup, and the next run would have to read it all.
    """
    try:
        for key in keys:
            storage.delete(key)
    except StorageFailed as error:
        log.warning("%s may be left on %s: %s", " and ".join(keys), storage.name, error)


def _check_stored(storage: Storage, key: str, archive: Archive) -> None:
    stored = storage.stat(key).size
    if stored != archive.size:
        raise StorageFailed(f"target {storage.name} keeps {stored} bytes of {key}, {archive.size} were given to it")
