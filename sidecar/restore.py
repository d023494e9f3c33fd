"""Restore: check everything, load and compare the database, exchange the files, let Kimai show that it works."""

import logging
import os
import secrets
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from sidecar.archive.names import link_stays_inside, safe_path
from sidecar.archive.source import Source
from sidecar.database.compare import compare
from sidecar.database.definitions import MARKER
from sidecar.database.load import Load
from sidecar.database.objects import mark
from sidecar.database.snapshot import Connect, take
from sidecar.errors import Damaged, Refused, Unreachable
from sidecar.killed import check_ours, find_killed, take_back, take_back_database
from sidecar.kimai import console as asked
from sidecar.kimai.console import Console
from sidecar.kimai.environment import plan_env
from sidecar.kimai.staging import Staging, empty_cache
from sidecar.kimai.userdata import LOCAL_YAML, moved_data
from sidecar.manifest import Database, File
from sidecar.precheck import Target, check
from sidecar.report.progress import Progress
from sidecar.state import RestoreNote, State

log = logging.getLogger(__name__)

BLOCK = 1 << 20
_SMALL_LIMIT = 1 << 20
_SHOWN = 5

Part = Literal["database", "files"]


@dataclass(frozen=True)
class Job:
    """What a restore works with. `open_backup` finds, fetches and opens what the user named."""

    open_backup: Callable[[str], AbstractContextManager[Source]]
    connect: Connect
    connections: int
    database_url: str
    redacted_url: str
    own_database_url: str | None
    root: Path
    console: Console
    version_file: str | None
    protect: tuple[Path, ...]
    state: State
    progress: Progress

    @property
    def target(self) -> Target:
        """The Kimai and the database to restore into, as the checks see them."""
        return Target(
            connect=self.connect,
            database_url=self.database_url,
            own_database_url=self.own_database_url,
            root=self.root,
            console=self.console,
            version_file=self.version_file,
        )


@dataclass
class Report:
    """What a restore did, or would do: its steps and what an admin should know, a sentence each."""

    backup: str
    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dry_run: bool = False

    def step(self, text: str) -> None:
        """Say and keep what was done."""
        if not self.dry_run:
            log.info("%s", text)
        self.steps.append(text)

    def note(self, text: str) -> None:
        """Say and keep what an admin should know."""
        if text not in self.notes:
            if not self.dry_run:
                log.warning("%s", text)
            self.notes.append(text)


def restore(
    job: Job,
    reference: str,
    *,
    only: Part | None = None,
    accept_unknown_version: bool = False,
    discard_killed: bool = False,
    dry_run: bool = False,
) -> Report:
    """Bring a backup back. Touches nothing until every check has passed; what fails after that is taken back.

    `discard_killed`: drop what a killed restore made although it was written to since.
    """
    with job.state.lock("restore"):
        report = Report(reference, dry_run=dry_run)
        killed = find_killed(job.state, job.root)
        with job.open_backup(reference) as source:
            report.backup = source.label
            job.progress.phase("check the backup", total=source.size)
            source.verify(job.progress.advance)
            report.step(f"{source.label} is whole, every byte as its manifest says")
            check_ours(killed, job.connect, job.redacted_url, files_only=only == "files", discard=discard_killed)
            checked = check(
                job.target,
                source,
                only=only,
                accept_unknown_version=accept_unknown_version,
                passing_over=killed.objects,
            )
            for line in checked.found:
                report.step(line)
            for line in (*source.warnings, *checked.warnings):
                report.note(line)
            if killed:
                report.note(f"{killed}: what it made is {'to be ' if dry_run else ''}taken back first")
            if dry_run:
                report.steps += _plan(source, only)
                return report
            if killed:
                take_back(killed, job.state, job.connect, job.root)
            _carry_out(job, source, only, report, accept_unknown_version=accept_unknown_version)
        return report


def _carry_out(job: Job, source: Source, only: Part | None, report: Report, *, accept_unknown_version: bool) -> None:
    note = RestoreNote(
        backup=source.label, database=job.redacted_url, run_id=secrets.token_hex(8), root=str(job.root.resolve())
    )
    job.state.write_restore_note(note)
    try:
        with (
            _database(job, source, note, report) if only != "files" else nullcontext() as load,
            _files(job, source, note, report) if only != "database" else nullcontext() as staging,
        ):
            if load is not None:
                _load(job, source, load, report)
            if staging is not None:
                _stage(job, source, staging, report)
            _bring_up(job, only, report, accept_unknown_version=accept_unknown_version)
            if load is not None:
                load.enable_events()
            _settle(job, note, staging)
            if staging is not None:
                staging.clean_up()
                for line in staging.notes:
                    report.note(line)
    except BaseException:
        # Where taking back failed as well, the note stays: the next restore tries again.
        if note.phase == "settled" or not (note.objects or find_killed(job.state, job.root).folders):
            job.state.clear_restore_note()
        raise
    job.state.clear_restore_note()
    report.step(f"{source.label} is restored")


def _settle(job: Job, note: RestoreNote, staging: Staging | None) -> None:
    """From here on the restore counts: nothing that happens later may take it back, and no signal comes in between."""
    with _uninterrupted():
        note.phase = "settled"
        try:
            job.state.write_restore_note(note)
            if staging is not None:
                staging.settle()
        except BaseException:
            note.phase = "under way"
            job.state.write_restore_note(note)
            raise
        if note.objects:
            take_back_database(job.connect, [("table", MARKER)], ())


@contextmanager
def _uninterrupted() -> Iterator[None]:
    held = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ── The database ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _database(job: Job, source: Source, note: RestoreNote, report: Report) -> Iterator[Load]:
    """A load into the empty database; leaving by an error before all is settled takes away what it made."""

    def making(kind: str, name: str) -> None:
        if [kind, name] not in note.objects:
            note.objects.append([kind, name])
            job.state.write_restore_note(note)

    load = Load(job.connect, job.connections, making=making, advance=job.progress.advance)
    try:
        note.objects = [["table", MARKER], *_objects(source)]
        note.expected = source.manifest.database if source.manifest else None
        job.state.write_restore_note(note)
        session = job.connect()
        try:
            mark(session, note.run_id)
        finally:
            session.close()
        yield load
    except BaseException:
        if note.phase != "settled":
            log.warning("taking back what was loaded into %s", job.redacted_url)
            take_back_database(job.connect, [(kind, name) for kind, name in note.objects], [load.thread_id])
            note.objects = []
        raise
    finally:
        load.close()
    for line in load.loaded.warnings:
        report.note(line)


def _objects(source: Source) -> list[list[str]]:
    """Kind and name of all that our own backup will make, so that the journal knows them before the first."""
    if source.manifest is None:
        return []
    database = source.manifest.database
    found = [["table", table.name] for table in database.tables]
    return found + [[each.kind, each.name] for each in database.objects]


def _load(job: Job, source: Source, load: Load, report: Report) -> None:
    job.progress.phase("load the database", total=source.database_size)
    with source.open(source.database_name) as sql:
        load.run(iter(lambda: sql.read(BLOCK), b""))
    if source.manifest is None:
        report.step(f"{source.database_name} is loaded")
        report.note("the database can't be compared: the zip doesn't say what was in it")
        return
    _compare(job, source.manifest.database, report)


def _compare(job: Job, expected: Database, report: Report) -> None:
    rows = sum(table.rows for table in expected.tables)
    job.progress.phase("compare the database", total=rows, unit="items")
    with take(job.connect, job.connections) as snapshot:
        differences = compare(snapshot, expected, job.progress.advance)
    if differences:
        shown = "; ".join(str(difference) for difference in differences[:_SHOWN])
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise Damaged(f"what was loaded isn't what was backed up: {shown}{more}")
    report.step(f"the database is loaded and equal: {len(expected.tables)} tables, {rows} rows")


# ── The files ────────────────────────────────────────────────────────────────────────────────────────────────


def _files(job: Job, source: Source, note: RestoreNote, report: Report) -> Staging:
    environments = {
        file.path: _small(source, file) for file in source.files if file.path.startswith(".env") and file.kind == "file"
    }
    beside = plan_env(job.root, environments, job.database_url)
    for path, name in beside.items():
        report.note(f"the backup's {path} differs from the one in force and is laid beside it as {name}")
    local = next((file for file in source.files if file.path == LOCAL_YAML and file.kind == "file"), None)
    also = moved_data(job.root, _small(source, local)) if local else []
    return Staging(job.root, note.run_id, also=also, keep_beside=beside, protect=job.protect)


def _small(source: Source, file: File) -> bytes:
    with source.open(file.path) as stream:
        return stream.read(_SMALL_LIMIT)


def _stage(job: Job, source: Source, staging: Staging, report: Report) -> None:
    job.progress.phase("restore the files", total=sum(file.size for file in source.files))
    owner = next(folder for folder in (job.root / "var", job.root) if folder.is_dir()).stat()
    for file in source.files:
        if file.kind == "link":
            target = file.target_bytes if file.target_bytes is not None else (file.target or "").encode()
            if not link_stays_inside(safe_path(file.path), target):
                report.note(f"link {file.path} leads outside of Kimai and is not restored")
                continue
        if file.kind != "file":
            staging.write(_tame(file, owner))
            continue
        with source.open(file.path) as stream:
            staging.write(_tame(file, owner), iter(lambda: stream.read(BLOCK), b""))
        job.progress.advance(file.size)
    staging.swap()
    count = sum(file.kind == "file" for file in source.files)
    report.step(f"{count} files are in place; what was there is set aside until Kimai has shown that it works")
    for path in staging.kept:
        report.note(f"{path} is not in the backup and stays as it is")


def _tame(file: File, owner: os.stat_result) -> File:
    """Without setuid and setgid, as a backup may be anybody's; with an owner where the zip knows none."""
    known = file.uid >= 0
    return msgspec.structs.replace(
        file,
        mode=file.mode & ~0o6000,
        uid=file.uid if known else owner.st_uid,
        gid=file.gid if known else owner.st_gid,
    )


# ── Kimai's own word, and what a kill left ───────────────────────────────────────────────────────────────────


def _bring_up(job: Job, only: Part | None, report: Report, *, accept_unknown_version: bool) -> None:
    """What Kimai's documentation asks for after a restore, and the proof that code and database fit."""
    job.progress.phase("bring Kimai up")
    empty_cache(job.root)
    asked.reload(job.console)
    try:
        version, _ = asked.read_version(job.console, job.version_file)
    except Unreachable:
        if not accept_unknown_version:
            raise
        version = "of unknown version"
    report.step(f"Kimai {version} is reloaded, its cache built anew")
    if only == "files":
        return
    state = asked.migrations(job.console)
    if state != "up-to-date":
        raise Refused(f"Kimai says that the restored database doesn't fit its code ({state}): all is taken back")
    asked.list_users(job.console)
    report.step("Kimai reads its users from the restored database, and its migrations are up to date")


def _plan(source: Source, only: Iterable[str] | None) -> list[str]:
    lines = []
    if only != "files":
        lines.append(f"would load {source.database_name} ({source.database_size} bytes) and compare it")
    if only != "database":
        lines.append(f"would put {len(source.files)} files and folders in place")
    return [*lines, "would empty Kimai's cache, reload it and test it"]
