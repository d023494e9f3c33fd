"""Back up: read the version, pack database and files in one streaming zip, publish it on each target, prune."""

import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Protocol

import msgspec

from sidecar import __version__
from sidecar.archive.entries import MANIFEST_LIMIT
from sidecar.archive.writer import Entry, is_compressed, write_archive
from sidecar.catalog import Backup, catalog, read_manifest
from sidecar.database.dump import Dump, newest_migration
from sidecar.database.server import DefinitionChanged
from sidecar.database.snapshot import Connect, take
from sidecar.errors import Exit, KimaiBackupError, Refused, StorageFailed
from sidecar.kimai.environment import render
from sidecar.kimai.files import Survey
from sidecar.kimai.instance import Instance
from sidecar.manifest import (
    DATABASE_NAME,
    ENVIRONMENT_NAME,
    INNER_NAME,
    Archive,
    BackupId,
    File,
    Kimai,
    Manifest,
    encode,
)
from sidecar.names import archive_key, manifest_key
from sidecar.prune import Pruned, prune
from sidecar.report.progress import Progress
from sidecar.retention import Policy
from sidecar.state import State
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

OWN_MODE = stat.S_IFREG | 0o600
"""st_mode of the entries that are no file of Kimai's."""

ATTEMPTS = 3
"""How often a dump is begun anew because a table was altered under its snapshot."""


class Spool(Protocol):
    """Where archives grow before they are published."""

    def file(self, key: str) -> Path:
        """An empty file that is to become the object of this key."""

    def sweep(self, now: datetime) -> None:
        """Remove what killed runs of this instance left, and say so. For the holder of the lock."""


@dataclass(frozen=True)
class Job:
    """What a backup works with."""

    instance_name: str
    instance: Instance
    connect: Connect
    connections: int
    storages: Sequence[Storage]
    spool: Spool
    state: State
    policy: Policy
    tz: tzinfo
    progress: Progress


@dataclass
class Outcome:
    """How a backup ended: its manifest, where it lies, what was pruned, and the exit code."""

    manifest: Manifest
    targets: list[str] = field(default_factory=list)
    failed: list[StorageFailed] = field(default_factory=list)
    pruned: list[Pruned] = field(default_factory=list)
    not_pruned: str | None = None

    @property
    def exit_code(self) -> Exit:
        """0, or 3 where something could not be read, changed while it was read, or missed a target."""
        manifest = self.manifest
        lacks = manifest.missing or manifest.unreadable or manifest.changed or manifest.database.unreadable
        prune_failed = any(result.failure for result in self.pruned)
        return Exit.PARTIAL if lacks or self.failed or prune_failed else Exit.DONE


def backup(job: Job, *, with_prune: bool = True) -> Outcome:
    """Make one backup and publish it on every target. Raises `StorageFailed` where no target took it."""
    with job.state.lock("backup"):
        job.state.refuse_while_restoring()
        job.spool.sweep(datetime.now(UTC))
        before = _previous(job)
        kimai = job.instance.identify()
        backup_id = _new_id(job, kimai.version)
        spooled = job.spool.file(archive_key(backup_id))
        try:
            manifest = _pack(job, backup_id, kimai, before, spooled)
            _check_unchanged(job, manifest)
            outcome = _publish(job, manifest, spooled)
        finally:
            with suppress(FileNotFoundError):
                spooled.unlink()
        _tell(outcome)
        outcome.not_pruned = _why_not_prune(outcome, before) if with_prune else "--no-prune"
        if outcome.not_pruned is None:
            job.progress.phase("prune")
            outcome.pruned = prune(
                job.storages, job.instance_name, job.policy, datetime.now(UTC), job.tz, dry_run=False
            )
        elif with_prune:
            log.warning("nothing is pruned: %s", outcome.not_pruned)
        return outcome


def rehearse(job: Job) -> tuple[Kimai, Survey, int]:
    """What a backup would read, without writing anything: Kimai, its files, the database's tables."""
    kimai = job.instance.identify()
    survey = _previous(job).survey(job.instance)
    with take(job.connect, 1) as snapshot:
        tables = len(Dump(snapshot, tool_version=__version__).schema.tables)
    return kimai, survey, tables


@dataclass(frozen=True)
class _Before:
    """The backup before this one: its manifest, if there is one that can be read."""

    manifest: Manifest | None = None
    unreadable: bool = False

    def survey(self, instance: Instance) -> Survey:
        if self.manifest is None:
            return instance.survey()
        paths = [file.path for file in self.manifest.files if file.path != ENVIRONMENT_NAME]
        return instance.survey(paths, self.manifest.missing)


def _previous(job: Job) -> _Before:
    listing = catalog(job.storages, job.instance_name)
    newest: Backup | None = next((found for found in listing.backups if not found.id.safety), None)
    if newest is None:
        return _Before()
    for storage in job.storages:
        if storage.name in newest.targets:
            try:
                return _Before(read_manifest(storage, newest.id))
            except KimaiBackupError as error:
                log.warning("the manifest of the backup before this one, %s, can't be read: %s", newest.id, error)
    return _Before(unreadable=True)


def _new_id(job: Job, version: str) -> BackupId:
    """An ID that no backup has yet, even where two runs end within one second."""
    taken = {found.id for found in catalog(job.storages, job.instance_name).backups}
    found = BackupId(job.instance_name, version, datetime.now(UTC).replace(microsecond=0))
    while found in taken:
        found = found._replace(created_at=found.created_at + timedelta(seconds=1))
    return found


def _pack(job: Job, backup_id: BackupId, kimai: Kimai, before: _Before, spooled: Path) -> Manifest:
    """Write the archive, beginning again where a table was altered under the snapshot."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with take(job.connect, job.connections) as snapshot, spooled.open("wb", buffering=0) as file:
                job.progress.phase("database", unit="items")
                dump = Dump(snapshot, tool_version=__version__, advance=job.progress.advance)
                pack = _Pack(job, backup_id, kimai, before, dump)
                archive = write_archive(pack.entries(), file)
                _sync(file.fileno(), spooled)
                return msgspec.structs.replace(pack.manifest, archive=archive)
        except DefinitionChanged as error:
            if attempt == ATTEMPTS:
                raise
            log.warning("the dump begins again: %s", error)
    raise AssertionError  # the last attempt returns or raises


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Where a file system finds room only now, and doesn't.
        raise StorageFailed(f"{path} can't be written: {error.strerror}", mend="Make room there.") from error


class _Pack:
    """The entries of one archive, in their order; its `manifest` is there once the last has been asked for."""

    def __init__(self, job: Job, backup_id: BackupId, kimai: Kimai, before: _Before, dump: Dump) -> None:
        self.manifest: Manifest
        self._survey: Survey
        self._before = before
        self._job = job
        self._id = backup_id
        self._kimai = kimai
        self._dump = dump
        self._started = datetime.now(UTC)
        self._mtime = int(self._started.timestamp()) * 10**9
        self._files: list[File] = []

    def entries(self) -> Iterator[Entry]:
        yield self._own(DATABASE_NAME, self._dump.chunks())
        # Only now: a file that the database already knew of is there by now as well.
        self._survey = self._before.survey(self._job.instance)
        yield self._environment()
        self._job.progress.phase("files", total=self._survey.size)
        for entry in self._survey.entries:
            yield from self._file(entry)
        self.manifest = self._describe()
        text = encode(self.manifest)
        if len(text) > MANIFEST_LIMIT:
            raise KimaiBackupError(
                f"the manifest has {len(text)} bytes, more than a restore reads ({MANIFEST_LIMIT})",
                mend="Look for a folder with very many files below Kimai's var/data.",
            )
        yield self._own(INNER_NAME, [text])

    def _own(self, name: str, chunks: Iterator[bytes] | Sequence[bytes]) -> Entry:
        return Entry(name, OWN_MODE, self._mtime, chunks)

    def _environment(self) -> Entry:
        content = render(self._job.instance.environment())
        digest = hashlib.sha256(content).hexdigest()
        own = File(
            path=ENVIRONMENT_NAME,
            size=len(content),
            sha256=digest,
            mode=OWN_MODE,
            mtime=self._mtime,
            uid=os.getuid(),
            gid=os.getgid(),
        )
        self._files.append(own)
        return self._own(ENVIRONMENT_NAME, [content])

    def _file(self, entry: File) -> Iterator[Entry]:
        if entry.kind == "folder":
            self._files.append(entry)
            yield Entry(entry.path + "/", entry.mode, entry.mtime, [])
        elif entry.kind == "link":
            self._files.append(entry)
            target = entry.target_bytes or (entry.target or "").encode()
            yield Entry(entry.path, entry.mode, entry.mtime, [target])
        elif (reading := self._survey.open(entry)) is not None:
            with reading:
                yield Entry(entry.path, entry.mode, entry.mtime, reading, stored=is_compressed(entry.path))
                self._files.append(reading.file)
                self._job.progress.advance(reading.file.size)

    def _describe(self) -> Manifest:
        survey = self._survey
        secret = self._job.instance.app_secret()
        database = self._dump.description()
        warnings = self._dump.warnings()
        warnings += [
            f"{what} can't be seen by the database user: whether there are any is unknown" for what in database.unseen
        ]
        warnings += [f"link leads to what is not in the backup: {path}" for path in survey.uncovered_links]
        warnings += [f"skipped, as it is no file, folder or link: {path}" for path in survey.skipped]
        return Manifest(
            id=str(self._id),
            instance=self._id.instance,
            started_at=self._started,
            finished_at=datetime.now(UTC),
            tool_version=__version__,
            kimai=self._kimai,
            database=database,
            files=self._files,
            missing=survey.missing,
            unreadable=survey.unreadable,
            changed=survey.changed,
            app_secret=secret.fingerprint if secret else None,
            app_secret_source=secret.source if secret else None,
            warnings=warnings,
        )


def _check_unchanged(job: Job, manifest: Manifest) -> None:
    """Version and newest migration must be the same after the dump: an update in between makes a backup of neither."""
    version = job.instance.identify().version
    if version != manifest.kimai.version:
        raise Refused(
            f"Kimai was updated during the backup, from {manifest.kimai.version} to {version}",
            mend="Run the backup again once the update has ended.",
        )
    session = job.connect()
    try:
        migration = newest_migration(session)
    finally:
        session.close()
    if migration != manifest.database.newest_migration:
        raise Refused(
            f"the database was migrated during the backup, from {manifest.database.newest_migration} to {migration}",
            mend="Run the backup again once the update has ended.",
        )


def _publish(job: Job, manifest: Manifest, spooled: Path) -> Outcome:
    """Zip first, manifest last, on each target by itself: one that fails doesn't keep the others from theirs."""
    outcome = Outcome(manifest)
    backup_id = BackupId.parse(manifest.id)
    assert backup_id is not None and manifest.archive is not None  # noqa: S101, PT018 - made just now
    for storage in job.storages:
        job.progress.phase(f"publish on {storage.name}")
        try:
            _put(storage, backup_id, manifest, manifest.archive, spooled)
        except StorageFailed as error:
            log.error("target %s failed: %s", storage.name, error)  # noqa: TRY400 - one line
            outcome.failed.append(error)
        else:
            outcome.targets.append(storage.name)
    if not outcome.targets:
        raise outcome.failed[0]
    return outcome


def _put(storage: Storage, backup_id: BackupId, manifest: Manifest, archive: Archive, spooled: Path) -> None:
    key = archive_key(backup_id)
    try:
        storage.put(key, spooled)
        _check_stored(storage, key, archive)
        storage.put(manifest_key(backup_id), encode(manifest))
    except BaseException:
        # Without its manifest the archive is no backup, and nothing would ever delete it.
        try:
            storage.delete(key)
        except StorageFailed as error:
            log.warning("%s may be left on %s without a manifest: %s", key, storage.name, error)
        raise


def _check_stored(storage: Storage, key: str, archive: Archive) -> None:
    stored = storage.stat(key).size
    if stored != archive.size:
        raise StorageFailed(f"target {storage.name} keeps {stored} bytes of {key}, {archive.size} were given to it")


def _tell(outcome: Outcome) -> None:
    manifest = outcome.manifest
    for kind, names in (
        ("missing", manifest.missing),
        ("unreadable", manifest.unreadable),
        ("unreadable in the database", manifest.database.unreadable),
        ("changed while it was read", manifest.changed),
        ("note", manifest.warnings),
    ):
        for name in names:
            log.warning("%s: %s", kind, name)
    rows = sum(table.rows for table in manifest.database.tables)
    log.info(
        "%s: %d tables, %d rows, %d files, %d bytes, on %s",
        manifest.id,
        len(manifest.database.tables),
        rows,
        sum(file.kind == "file" for file in manifest.files),
        manifest.archive.size if manifest.archive else 0,
        ", ".join(outcome.targets),
    )


def _why_not_prune(outcome: Outcome, previous: _Before) -> str | None:
    """Why old backups stay: this one missed a target, or lacks what the one before it had (invariant 2)."""
    if outcome.failed:
        return "a target failed"
    if previous.unreadable:
        return "the manifest of the backup before can't be read, so nobody knows whether this one lacks something"
    before = previous.manifest
    if before is None:
        return None
    now = outcome.manifest
    lacking = sorted(_lacks(now) - _lacks(before))
    if lacking:
        return f"this backup lacks what the one before it had: {', '.join(lacking[:5])}"
    gone = sorted({t.name for t in before.database.tables} - {t.name for t in now.database.tables})
    if gone:
        return f"tables of the backup before are gone: {', '.join(gone[:5])}"
    return None


def _lacks(manifest: Manifest) -> set[str]:
    return {*manifest.missing, *manifest.unreadable, *manifest.database.unreadable}
