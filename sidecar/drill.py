"""Drill: restore a backup into a scratch database, read it back, and write down whether it is what was backed up."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sidecar import __version__
from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.source import Source, open_source
from sidecar.catalog import LOCAL, Backup, Copy, read_manifest
from sidecar.database import rights
from sidecar.database.compare import Compared, compare
from sidecar.database.load import Load
from sidecar.database.loaders import StatementRefused
from sidecar.database.scratch import Open, scratch_database, sweep
from sidecar.database.server import QueryFailed, version_number
from sidecar.database.snapshot import take
from sidecar.errors import Damaged, Exit, KimaiBackupError, NoSuchBackup, ObjectNotFound, Refused, StorageFailed
from sidecar.manifest import Archive, Database, Manifest
from sidecar.names import failed_key, proof_key
from sidecar.proof import Proof, TableProof, encode, withhold
from sidecar.report.progress import Progress
from sidecar.state import State
from sidecar.storage.base import Storage
from sidecar.turns import Tries

log = logging.getLogger(__name__)

Fetch = Callable[[Storage, str], AbstractContextManager[Path]]

BLOCK = 1 << 20
"""Bytes of SQL read from the archive at once."""
_KEPT = 200
"""How many differences a proof names: one that differs everywhere needs no more."""
_LOOK = "Look at the server of DRILL_DATABASE_URL: its room, its limits, its settings."


@dataclass(frozen=True)
class Job:
    """What a drill works with. `connect` opens a database of the scratch server; `prefix` begins its name.

    `tries` remembers what was begun, until what became of it lies beside the backup.
    """

    connect: Open
    prefix: str
    connections: int
    storages: Sequence[Storage]
    fetch: Fetch
    state: State
    tries: Tries
    progress: Progress
    keys: Keyring = NO_KEYS


@dataclass(frozen=True)
class Drilled:
    """What became of one copy: its proof, with all that an encrypted copy's withholds where it lies.

    `marked` are the targets that bear it, `unmarked` says of others why not.
    """

    proof: Proof
    marked: tuple[str, ...] = ()
    unmarked: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of each copy that was tried, and by target why others could not even be tried."""

    results: list[Drilled] = field(default_factory=list)
    passed: dict[str, KimaiBackupError] = field(default_factory=dict)

    @property
    def exit_code(self) -> Exit:
        """7 where a copy did not match or is damaged, 6 where one could not be read or a proof not be written."""
        errors = self.passed.values()
        if any(not result.proof.matched for result in self.results) or any(isinstance(e, Damaged) for e in errors):
            return Exit.DAMAGED
        return Exit.STORAGE if self.passed or any(result.unmarked for result in self.results) else Exit.DONE


def drill(job: Job, backup: Backup) -> Outcome:
    """Drill the copies of a backup, local first, until one matches; each that does not is marked as failed.

    Raises what the last copy failed with where none could be tried, `Unreachable` for the scratch server, and `Refused`
    for a backup that can't be tried there.
    """
    with job.state.lock("drill", of_kimai=False):
        sweep(job.connect, job.prefix)
        job.tries.begin(backup.id, datetime.now(UTC))
        outcome = Outcome()
        by_name = {storage.name: storage for storage in job.storages}
        for copy in backup.copies:
            try:
                proof = _drill_copy(job, by_name[copy.target], backup, copy)
            except (StorageFailed, NoSuchBackup, Damaged) as error:
                log.error("%s on %s is passed over: %s", backup.id, copy.target, error)  # noqa: TRY400 - one line
                outcome.passed[copy.target] = error
                continue
            tried = {*outcome.passed, *(result.proof.read_from for result in outcome.results)}
            others = [each for each in backup.copies if each.target not in tried]
            outcome.results.append(_mark(job, by_name, backup, others, proof))
            if proof.matched:
                break
        if not outcome.results:
            raise list(outcome.passed.values())[-1]
        if any(result.marked for result in outcome.results):
            job.tries.end(backup.id)
        return outcome


@dataclass
class _Findings:
    """What is known of a copy so far."""

    server: str = "none"
    same_flavour: bool = False
    same_server: bool = False
    tables: list[Compared] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def _drill_copy(job: Job, storage: Storage, backup: Backup, copy: Copy) -> Proof:
    if copy.encrypted:
        job.keys.require(copy.archive_key)  # before it is fetched
    started = datetime.now(UTC)
    manifest = read_manifest(storage, backup.id)
    found = _Findings()
    whole = manifest
    try:
        with job.fetch(storage, copy.archive_key) as path, open_source(path, manifest, job.keys) as source:
            whole = source.manifest or manifest
            job.progress.phase("check the archive", total=source.size)
            source.verify(job.progress.advance)
            _restore(job, source, whole.database, found)
    except Damaged as error:
        found.differences.append(str(error))
    for difference in found.differences[:_KEPT]:
        log.error("%s on %s: %s", backup.id, storage.name, difference)
    return _proof(msgspec.structs.replace(whole, archive=manifest.archive), storage.name, started, found)


def _restore(job: Job, source: Source, expected: Database, found: _Findings) -> None:
    try:
        _load_and_compare(job, source, expected, found)
    except QueryFailed as error:
        raise Refused(
            f"the scratch server, {found.server}, can't be worked with: {error.what}", mend=error.mend or _LOOK
        ) from error


def _load_and_compare(job: Job, source: Source, expected: Database, found: _Findings) -> None:
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
        needed = [*rights.FOR_LOAD, *sorted(rights.for_objects({each.kind for each in expected.objects}))]
        lacking = rights.lacking(session, needed)
        # Of a table that may not be read nobody could tell whether it is there.
        if lacking:
            raise Refused(
                f"the user of DRILL_DATABASE_URL lacks {', '.join(lacking)} on {name}",
                mend=rights.for_drills(job.prefix),
            )
        found.server, limit = f"{session.flavour} {session.server_version}", session.packet_limit
        found.same_flavour = session.flavour == expected.flavour
        versions = {version_number(session.server_version), version_number(expected.server_version)}
        found.same_server = found.same_flavour and len(versions) == 1
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
        except StatementRefused as error:
            if found.same_flavour and error.of_the_dump:
                raise
            other = f"Drill on a server of the backup's own flavour, {expected.flavour}."
            own = error.mend or _LOOK
            raise Refused(
                f"{source.label} can't be loaded into the scratch server, {found.server}: {error.what}",
                mend=own if found.same_flavour or error.mend else other,
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


def _mark(job: Job, by_name: dict[str, Storage], backup: Backup, copies: Sequence[Copy], proof: Proof) -> Drilled:
    """Lay the outcome beside the copy that was read, and a proof beside the others of the same archive.

    `copies` are those of which nothing bad is known.
    """
    marked, unmarked = [], {}
    for copy in copies:
        storage = by_name[copy.target]
        try:
            if copy.target == proof.read_from or (proof.matched and _is_same(job, storage, backup, copy, proof)):
                _write(storage, backup, withhold(proof) if copy.encrypted else proof)
                marked.append(copy.target)
        except (StorageFailed, NoSuchBackup, Damaged) as error:
            log.error("the outcome can't be laid beside %s on %s: %s", backup.id, copy.target, error)  # noqa: TRY400
            unmarked[copy.target] = str(error)
    return Drilled(proof, tuple(marked), unmarked)


def _is_same(job: Job, storage: Storage, backup: Backup, copy: Copy, proof: Proof) -> bool:
    """By its manifest and its size; on this machine by its bytes. A store has shown its SHA-256 when it took it."""
    if read_manifest(storage, backup.id).archive != proof.archive or copy.size != proof.archive.size:
        return False
    if storage.name != LOCAL:
        return True
    with job.fetch(storage, copy.archive_key) as path, path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == proof.archive.sha256


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
