"""Drill: restore a backup into a scratch database, read it back, and write down whether it is what was backed up."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sidecar import __version__
from sidecar.archive.source import Source, open_source
from sidecar.catalog import Backup, Catalog, Copy, proven_at, read_manifest
from sidecar.database.compare import Compared, compare
from sidecar.database.load import Load
from sidecar.database.scratch import Open, scratch_database, sweep
from sidecar.database.snapshot import take
from sidecar.errors import Damaged, Exit, NoSuchBackup, ObjectNotFound, Refused, StorageFailed
from sidecar.manifest import Archive, Database, Manifest
from sidecar.names import failed_key, proof_key
from sidecar.proof import Proof, TableProof, encode
from sidecar.report.progress import Progress
from sidecar.state import State
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

Fetch = Callable[[Storage, str], AbstractContextManager[Path]]

BLOCK = 1 << 20
"""Bytes of SQL read from the archive at once."""
_KEPT = 200
"""How many differences a proof names: one that differs everywhere needs no more."""


@dataclass(frozen=True)
class Job:
    """What a drill works with. `connect` opens a database of the scratch server; `prefix` begins its name."""

    connect: Open
    prefix: str
    connections: int
    storages: Sequence[Storage]
    fetch: Fetch
    state: State
    progress: Progress


@dataclass(frozen=True)
class Drilled:
    """What became of one copy: its proof; `marked` are the targets that bear it, `unmarked` says of others why not."""

    proof: Proof
    marked: tuple[str, ...] = ()
    unmarked: dict[str, str] = field(default_factory=dict)


def drill(job: Job, backup: Backup) -> list[Drilled]:
    """Drill the copies of a backup, local first, until one matches; each that does not is marked as failed.

    Raises `StorageFailed` where none can be read, `Unreachable` for the scratch server, `Refused` for a backup that
    can't be tried there.
    """
    with job.state.lock("drill", of_kimai=False):
        sweep(job.connect, job.prefix)
        results: list[Drilled] = []
        by_name = {storage.name: storage for storage in job.storages}
        for copy in backup.copies:
            storage = by_name[copy.target]
            try:
                proof = _drill_copy(job, storage, backup, copy)
            except StorageFailed as error:
                if copy is backup.copies[-1] and not results:
                    raise
                log.warning("%s on %s is passed over: %s", backup.id, storage.name, error)
                continue
            results.append(_mark(by_name, backup, storage, proof))
            if proof.matched:
                break
        return results


def whose_turn(listing: Catalog, storages: Sequence[Storage]) -> Backup:
    """The oldest backup that no drill has tried; where all were, the one whose proof is the oldest.

    Raises `NoSuchBackup`. Reads each proof where all are proven.
    """
    ordinary = [backup for backup in listing.backups if not backup.id.safety and not backup.damaged]
    untried = [backup for backup in ordinary if not backup.proven]
    if untried:
        return untried[-1]
    if not ordinary:
        raise NoSuchBackup(f"no backup of instance {listing.instance} is there to be drilled")
    never = datetime.min.replace(tzinfo=UTC)
    return min(ordinary, key=lambda backup: (proven_at(backup, storages) or never, backup.id.created_at))


def exit_code(results: Sequence[Drilled]) -> Exit:
    """7 where a copy did not match, 6 where a proof could not be written, else 0."""
    if not results or any(not result.proof.matched for result in results):
        return Exit.DAMAGED
    return Exit.STORAGE if any(result.unmarked for result in results) else Exit.DONE


@dataclass
class _Findings:
    """What is known of a copy so far."""

    server: str = "none"
    same_flavour: bool = False
    same_server: bool = False
    tables: list[Compared] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def _drill_copy(job: Job, storage: Storage, backup: Backup, copy: Copy) -> Proof:
    started = datetime.now(UTC)
    manifest = read_manifest(storage, backup.id)
    found = _Findings()
    try:
        with job.fetch(storage, copy.archive_key) as path, open_source(path, manifest) as source:
            job.progress.phase("check the archive", total=source.size)
            source.verify(job.progress.advance)
            _restore(job, source, manifest.database, found)
    except Damaged as error:
        found.differences.append(str(error))
    for difference in found.differences[:_KEPT]:
        log.error("%s on %s: %s", backup.id, storage.name, difference)
    return _proof(manifest, storage.name, started, found)


def _restore(job: Job, source: Source, expected: Database, found: _Findings) -> None:
    with scratch_database(job.connect, job.prefix, expected.charset, expected.collation) as name:
        _look_at_server(job, name, expected, found)
        _load(job, source, expected, name, found)
        rows = sum(table.rows for table in expected.tables)
        job.progress.phase("compare the database", total=rows, unit="items")
        with take(lambda: job.connect(name), job.connections) as snapshot:
            differences = compare(snapshot, expected, job.progress.advance, found.tables.append)
        found.differences += map(str, differences)


def _look_at_server(job: Job, name: str, expected: Database, found: _Findings) -> None:
    session = job.connect(name)
    try:
        found.server, limit = f"{session.flavour} {session.server_version}", session.packet_limit
        found.same_flavour = session.flavour == expected.flavour
        found.same_server = found.same_flavour and session.server_version == expected.server_version
    finally:
        session.close()
    if expected.largest_statement > limit:
        raise Refused(
            f"the dump holds a statement of {expected.largest_statement} bytes, the scratch server takes {limit}",
            mend=f"Set max_allowed_packet to {expected.largest_statement + 1024} or more there.",
        )
    if not found.same_server:
        log.warning(
            "the backup is of %s %s, the scratch server is %s: rows are compared, definitions are not",
            expected.flavour,
            expected.server_version,
            found.server,
        )


def _load(job: Job, source: Source, expected: Database, name: str, found: _Findings) -> None:
    """Run the dump's statements; events stay disabled."""
    job.progress.phase("load the database", total=source.database_size)
    with _loading(job, name) as load, source.open(source.database_name) as sql:
        try:
            load.run(iter(lambda: sql.read(BLOCK), b""))
        except Damaged as error:
            if found.same_flavour:
                raise
            raise Refused(
                f"{source.label} is of {expected.flavour} and can't be loaded into {found.server}: {error.what}",
                mend="Drill on a server of the backup's own flavour.",
            ) from error
    for line in load.loaded.warnings:
        log.info("%s", line)


@contextmanager
def _loading(job: Job, name: str) -> Iterator[Load]:
    load = Load(lambda: job.connect(name), job.connections, advance=job.progress.advance)
    try:
        yield load
    finally:
        load.close()


def _proof(manifest: Manifest, target: str, started: datetime, found: _Findings) -> Proof:
    database = manifest.database
    files = [file for file in manifest.files if file.kind == "file"]
    return Proof(
        id=manifest.id,
        matched=not found.differences,
        started_at=started,
        finished_at=datetime.now(UTC),
        tool_version=__version__,
        read_from=target,
        archive=manifest.archive or Archive(size=0, sha256=""),
        backup_server=f"{database.flavour} {database.server_version}",
        drill_server=found.server,
        same_flavour=found.same_flavour,
        definitions_compared=found.same_server,
        newest_migration=database.newest_migration,
        tables=[TableProof(name=t.name, rows=t.rows, digest=t.digest, equal=t.equal) for t in found.tables],
        files=len(files),
        bytes=sum(file.size for file in files),
        differences=found.differences[:_KEPT],
    )


def _mark(by_name: dict[str, Storage], backup: Backup, source: Storage, proof: Proof) -> Drilled:
    """Lay the proof beside every copy of that archive; the note of a failure beside the one that was read."""
    marked, unmarked = [], {}
    for copy in backup.copies:
        storage = by_name[copy.target]
        try:
            if copy.target == source.name or (proof.matched and _is_same(storage, backup, copy, proof)):
                _write(storage, backup, proof)
                marked.append(copy.target)
        except (StorageFailed, Damaged) as error:
            log.error("the outcome can't be laid beside %s on %s: %s", backup.id, copy.target, error)  # noqa: TRY400
            unmarked[copy.target] = str(error)
    return Drilled(proof, tuple(marked), unmarked)


def _is_same(storage: Storage, backup: Backup, copy: Copy, proof: Proof) -> bool:
    """By its manifest, and by its size as it lies there."""
    return read_manifest(storage, backup.id).archive == proof.archive and copy.size == proof.archive.size


def _write(storage: Storage, backup: Backup, proof: Proof) -> None:
    """What speaks against a backup is written before what speaks for it is removed, and the other way round."""
    if proof.matched:
        storage.put(proof_key(backup.id), encode(proof))
        _forget(storage, failed_key(backup.id))
    else:
        storage.put(failed_key(backup.id), encode(proof))
        _forget(storage, proof_key(backup.id))


def _forget(storage: Storage, key: str) -> None:
    try:
        storage.delete(key)
    except ObjectNotFound:
        log.debug("%s is not there", key)
