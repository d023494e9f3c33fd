"""Drill: restore a backup into a scratch database, read it back, and write down whether it is what was backed up."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from sidecar import __version__
from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.source import Source, open_source
from sidecar.catalog import Backup, Copy, read_manifest
from sidecar.database import rights
from sidecar.database.compare import Compared, Difference, compare, is_of_series
from sidecar.database.fits import check_largest, unknown_to
from sidecar.database.load import Load
from sidecar.database.loaders import StatementRefused
from sidecar.database.scratch import Open, scratch_database, sweep
from sidecar.database.server import QueryFailed
from sidecar.database.snapshot import take
from sidecar.errors import Damaged, Exit, KimaiBackupError, NoSuchBackup, Refused, StorageFailed
from sidecar.manifest import Archive, Database, Manifest
from sidecar.proof import Proof, TableProof
from sidecar.proven import Drilled, Fetch, lay_down
from sidecar.report.progress import Progress
from sidecar.state import State
from sidecar.storage.base import Storage
from sidecar.turns import Tries

log = logging.getLogger(__name__)

BLOCK = 1 << 20
"""Bytes of SQL read from the archive at once."""
_KEPT = 200
"""How many differences a proof names: one that differs everywhere needs no more."""
_SHOWN = 5
_OTHER = "Drill on a server of the backup's own kind, {} {}."
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


@dataclass
class Outcome:
    """What became of each copy that was tried, and by target why others could not even be tried.

    `left`: which scratch databases are still there, a sentence each.
    """

    results: list[Drilled] = field(default_factory=list)
    passed: dict[str, KimaiBackupError] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> Exit:
        """7 where a copy did not match or is damaged, 6 where one could not be read or a proof not be written.

        3 where a scratch database, which holds all that Kimai's does, could not be dropped.
        """
        errors = self.passed.values()
        if any(not result.proof.matched for result in self.results) or any(isinstance(e, Damaged) for e in errors):
            return Exit.DAMAGED
        if self.passed or any(result.unmarked for result in self.results):
            return Exit.STORAGE
        return Exit.PARTIAL if self.left else Exit.DONE


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
                proof = _drill_copy(job, by_name[copy.target], backup, copy, outcome.left)
            except (StorageFailed, NoSuchBackup, Damaged) as error:
                log.error("%s on %s is passed over: %s", backup.id, copy.target, error)  # noqa: TRY400 - one line
                outcome.passed[copy.target] = error
                continue
            tried = {*outcome.passed, *(result.proof.read_from for result in outcome.results)}
            others = [each for each in backup.copies if each.target not in tried]
            outcome.results.append(lay_down(proof, backup, others, by_name, job.fetch))
            if proof.matched:
                break
        if not outcome.results:
            raise list(outcome.passed.values())[-1]
        if any(result.marked for result in outcome.results):
            job.tries.end(backup.id)
        return outcome


@dataclass
class _Findings:
    """What is known of a copy so far; `left` as in `Outcome`."""

    left: list[str]
    server: str = "none"
    same_flavour: bool = False
    same_series: bool = False
    tables: list[Compared] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    doubts: list[Difference] = field(default_factory=list)


def _drill_copy(job: Job, storage: Storage, backup: Backup, copy: Copy, left: list[str]) -> Proof:
    if copy.encrypted:
        job.keys.require(copy.archive_key)  # before it is fetched
    started = datetime.now(UTC)
    manifest = read_manifest(storage, backup.id)
    found = _Findings(left)
    whole = manifest
    try:
        with job.fetch(storage, copy.archive_key) as path, open_source(path, manifest, job.keys) as source:
            whole = source.manifest or manifest
            job.progress.phase("check the archive", total=source.size)
            source.verify(job.progress.advance)
            _restore(job, source, whole.database, found)
    except Damaged as error:
        found.differences.append(str(error))
    for doubt in found.doubts[:_KEPT]:
        log.warning("%s on %s: %s", backup.id, storage.name, doubt.as_doubt)
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
    with scratch_database(job.connect, job.prefix, expected.charset, expected.collation, found.left.append) as name:
        _look_at_server(job, name, expected, found)
        _load(job, source, expected, name, found)
        rows = sum(table.rows for table in expected.tables)
        job.progress.phase("compare the database", total=rows, unit="items")
        with take(lambda: job.connect(name), job.connections) as snapshot:
            doubts: list[Difference] = []
            differences = compare(snapshot, expected, job.progress.advance, found.tables.append, doubts.append)
        found.differences += map(str, [*differences, *(each for each in doubts if each.is_lost)])
        found.doubts += [each for each in doubts if not each.is_lost]


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
        check_largest(session, expected, "the scratch server")
        found.server = f"{session.flavour} {session.server_version}"
        found.same_flavour = session.flavour == expected.flavour
        found.same_series = is_of_series(session, expected)
        unknown = [] if found.same_series else unknown_to(session, expected)
    finally:
        session.close()
    if not found.same_series:
        if unknown:
            first = "; ".join(unknown[:_SHOWN])
            raise Refused(
                f"the scratch server, {found.server}, doesn't know what the backup holds: {first}",
                mend=_OTHER.format(expected.flavour, expected.server_version),
            )
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
            # Another server may not know what the backup's own does: that speaks of no backup.
            if found.same_series and error.of_the_dump:
                raise
            other = _OTHER.format(expected.flavour, expected.server_version)
            raise Refused(
                f"{source.label} can't be loaded into the scratch server, {found.server}: {error.what}",
                mend=error.mend or (_LOOK if found.same_series else other),
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
        definitions_compared=found.same_series and not found.doubts,
        doubts=[str(each) for each in found.doubts[:_KEPT]],
        newest_migration=database.newest_migration,
        tables=[TableProof(name=t.name, rows=t.rows, digest=t.digest, equal=t.equal) for t in found.tables],
        files=len(files),
        bytes=sum(file.size for file in files),
        differences=found.differences[:_KEPT],
    )
