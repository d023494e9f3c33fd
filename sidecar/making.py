"""Making one backup: packed into one zip of one moment, found to be so still, and published on each target."""

import logging
import os
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path

import msgspec

from sidecar import __version__
from sidecar.archive.writer import write_archive
from sidecar.before import Before, forget, remember
from sidecar.database.dump import Dump, newest_migration
from sidecar.database.objects import MARKER, marked
from sidecar.database.server import DefinitionChanged
from sidecar.database.snapshot import Connect, Snapshot, take
from sidecar.errors import Refused, SpoolFailed, StorageFailed
from sidecar.growing import Grown, Spool, grown
from sidecar.kimai.instance import Instance
from sidecar.manifest import BackupId, Kimai, Manifest, withhold
from sidecar.names import archive_key
from sidecar.pack import Pack
from sidecar.publish import Published, publish
from sidecar.report.progress import Progress
from sidecar.state import State
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a dump is begun anew because a table was altered under its snapshot."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What any backup is made with. `recipients`: what it is encrypted to with age, if to anybody."""

    instance_name: str
    instance: Instance
    connect: Connect
    connections: int
    storages: Sequence[Storage]
    spool: Spool
    state: State
    progress: Progress
    recipients: Sequence[str] = ()


@dataclass(frozen=True)
class Made:
    """A backup that lies on one target at least; `failed` are by name those that did not take it."""

    manifest: Manifest
    targets: list[str]
    failed: dict[str, StorageFailed]


def make(means: Means, backup_id: BackupId, kimai: Kimai, before: Before, identify: Callable[[], Kimai]) -> Made:
    """Pack, check and publish. `identify` is asked once more after the dump: an update in between makes it neither.

    Raises `Refused` for that, `StorageFailed` where no target took it.
    """

    def pack(spooled: Path) -> Manifest:
        return _pack(means, backup_id, kimai, before, spooled)

    key = archive_key(backup_id, encrypted=bool(means.recipients))
    with grown(means.spool, means.storages, key, pack, needed=before.size) as archive:
        _check_unchanged(means, archive.manifest, identify)
        published = _publish(means, archive, backup_id)
    return Made(archive.manifest, published.targets, {**archive.failed, **published.failed})


def new_id(instance_name: str, version: str, taken: Set[BackupId], *, safety: bool = False) -> BackupId:
    """An ID that no backup has yet, even where two runs end within one second."""
    found = BackupId(instance_name, version, datetime.now(UTC).replace(microsecond=0), safety)
    while found in taken:
        found = found._replace(created_at=found.created_at + timedelta(seconds=1))
    return found


def _pack(means: Means, backup_id: BackupId, kimai: Kimai, before: Before, spooled: Path) -> Manifest:
    """Write the archive, beginning again where a table was altered under the snapshot."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with take(means.connect, means.connections) as snapshot, _opened(spooled) as file:
                refuse_half_restored(snapshot, means.state)
                means.progress.phase("database", unit="items")
                dump = Dump(snapshot, tool_version=__version__, advance=means.progress.advance)
                pack = Pack(
                    backup_id, kimai, dump, means.instance, lambda: before.survey(means.instance), means.progress
                )
                archive = write_archive(pack.entries(), file, means.recipients)
                _sync(file.fileno(), spooled)
                return msgspec.structs.replace(pack.manifest, archive=archive)
        except DefinitionChanged as error:
            if attempt == ATTEMPTS:
                raise
            log.warning("the dump begins again: %s", error)
    raise AssertionError  # the last attempt returns or raises


def refuse_half_restored(snapshot: Snapshot, state: State) -> None:
    """Raise `Refused` where the database bears a restore's mark that is not told by the journal here to be settled."""
    with snapshot.borrow() as session:
        its = marked(session)
    note = state.restore_note()
    if its is not None and (note is None or note.run_id != its or not note.is_settled):
        raise Refused(
            "the database bears the mark of a restore whose journal is not in BACKUP_STATE_DIR: "
            "it may be half restored",
            mend=f"End that restore, with its BACKUP_STATE_DIR; or, if all is well, drop the table {MARKER}.",
        )


def _opened(path: Path) -> FileIO:
    try:
        return path.open("wb", buffering=0)
    except OSError as error:
        # A disk that went away since the file was made.
        raise SpoolFailed(f"{path} can't be written: {error.strerror}", mend="Look at that disk.") from error


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Where a file system finds room only now, and doesn't.
        raise SpoolFailed(f"{path} can't be written: {error.strerror}", mend="Make room there.") from error


def _check_unchanged(means: Means, manifest: Manifest, identify: Callable[[], Kimai]) -> None:
    """Version and newest migration must be the same after the dump: an update in between makes a backup of neither."""
    version = identify().version
    if version != manifest.kimai.version:
        raise Refused(
            f"Kimai was updated during the backup, from {manifest.kimai.version} to {version}",
            mend="Run the backup again once the update has ended.",
        )
    session = means.connect()
    try:
        migration = newest_migration(session)
    finally:
        session.close()
    if migration != manifest.database.newest_migration:
        raise Refused(
            f"the database was migrated during the backup, from {manifest.database.newest_migration} to {migration}",
            mend="Run the backup again once the update has ended.",
        )


def _publish(means: Means, archive: Grown, backup_id: BackupId) -> Published:
    """Of an encrypted one the manifest beside it withholds what the next backup asks for: this machine remembers it.

    The next one never asks a safety backup.
    """
    manifest, memory = archive.manifest, means.state.manifests
    if means.recipients:
        manifest = withhold(manifest)
        if not backup_id.safety:
            remember(memory, archive.manifest)
    published = publish(archive.storages, manifest, archive.path, means.progress)
    if not backup_id.safety:
        forget(memory, all_but=manifest.id if means.recipients else None)
    return published
