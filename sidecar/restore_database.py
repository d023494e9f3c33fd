"""The database of a restore: loaded, compared with what was backed up, taken back where the restore fails."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.archive.source import Source
from sidecar.claim import check_mark
from sidecar.database.compare import compare, refuse_different, some_of
from sidecar.database.load import Load
from sidecar.database.locked import drop_unchanged
from sidecar.database.objects import MARKER, clear, drop, make_mark, mark, marked, sign_mark
from sidecar.database.server import Session
from sidecar.database.snapshot import take
from sidecar.errors import Refused
from sidecar.fresh import find_fresh
from sidecar.killed import take_back_database
from sidecar.manifest import Database
from sidecar.restore_job import BLOCK, Job, Report
from sidecar.restore_note import RestoreNote
from sidecar.undisturbed import hold

log = logging.getLogger(__name__)


@contextmanager
def loading(
    job: Job, source: Source, note: RestoreNote, report: Report, saved: Database | None = None
) -> Iterator[Load]:
    """A load into the database, emptied first; leaving by an error before all is settled takes away what it made.

    But not where a database in use is replaced (`rollback`), of which the safety backup has `saved` all.
    """

    def making(kind: str, name: str) -> None:
        if [kind, name] not in note.objects:
            note.objects.append([kind, name])
            job.state.write_restore_note(note)

    load = Load(job.connect, job.connections, making=making, advance=job.progress.advance)
    try:
        session = job.connect()
        try:
            check_mark(marked(session), note)
            note.objects = [["table", MARKER]]
            job.state.write_restore_note(note)
            if saved is not None:
                _replace(job, session, note, saved, report)
            else:
                mark(session, note.run_id)
            # What stands under their names before that is not ours.
            fresh = find_fresh(session, [("table", MARKER)])
            note.objects += _objects(source)
            note.expected = source.manifest.database if source.manifest else None
            job.state.write_restore_note(note)
            _make_room(session, fresh, report)
        finally:
            session.close()
        yield load
    except BaseException:
        hold()
        if note.phase != "settled" and note.replacing is None:
            log.warning("taking back what was loaded into %s", job.redacted_url)
            take_back_database(job.connect, [(kind, name) for kind, name in note.objects], [load.thread_id])
            # What anybody makes from now on is not ours.
            note.objects, note.upgrading = [], False
        raise
    finally:
        load.close()
    for line in load.loaded.warnings:
        report.note(line)


def _replace(job: Job, session: Session, note: RestoreNote, saved: Database, report: Report) -> None:
    """Drop what the safety backup holds. Raises `Refused` where that is not all: somebody has written since.

    Once this restore's mark stands, that was seen before.
    """
    if marked(session) is None:
        job.progress.phase("compare with the safety backup", total=sum(t.rows for t in saved.tables), unit="items")
        make_mark(session)

        def sign(tables: int) -> None:
            sign_mark(session, note.run_id, about_to_drop=tables)

        differences = drop_unchanged(session, saved, sign, job.progress.advance)
        if differences:
            raise Refused(
                f"the database was written to since its safety backup was made, so it is not dropped: "
                f"{some_of(differences)}",
                mend="Stop what writes to it, such as Kimai's web server, an event or a cron job, and begin again.",
            )
    else:
        sign_mark(session, note.run_id)
        clear(session)
    report.step(f"what was in the database is dropped: {len(saved.tables)} tables, which the safety backup holds")


def _make_room(session: Session, fresh: list[tuple[str, str]], report: Report) -> None:
    """Drop what an installation made and nobody has used."""
    if fresh:
        report.gone.append(f"the {len(fresh)} tables of the Kimai that was just installed are gone: install it anew")
        drop(session, fresh)
        report.step(f"the {len(fresh)} tables of a Kimai that was just installed are dropped: nobody had used them")


def _objects(source: Source) -> list[list[str]]:
    """Kind and name of all that our own backup will make, so that the journal knows them before the first."""
    if source.manifest is None:
        return []
    database = source.manifest.database
    found = [["table", table.name] for table in database.tables]
    return found + [[each.kind, each.name] for each in database.objects]


def load_database(job: Job, source: Source, load: Load, report: Report) -> None:
    """Run the dump's statements and compare what they made. Raises `Damaged` where it isn't what was backed up."""
    job.progress.phase("load the database", total=source.database_size)
    with source.open(source.database_name) as sql:
        load.run(iter(lambda: sql.read(BLOCK), b""))
    if source.manifest is None:
        report.step(f"{source.database_name} is loaded")
        report.note("the database can't be compared: the zip doesn't say what was in it")
        return
    _compare(job, source.manifest.database, report)


def load_anew(job: Job, source: Source, report: Report) -> list[str]:
    """Load into a database in which nothing stands but the mark, compare, and let events run.

    Returns what was not made as it was, a sentence each.
    """
    load = Load(job.connect, job.connections, advance=job.progress.advance)
    try:
        load_database(job, source, load, report)
        load.enable_events()
    finally:
        load.close()
    return load.loaded.warnings


def _compare(job: Job, expected: Database, report: Report) -> None:
    rows = sum(table.rows for table in expected.tables)
    job.progress.phase("compare the database", total=rows, unit="items")
    with take(job.connect, job.connections) as snapshot:
        refuse_different(compare(snapshot, expected, job.progress.advance, doubt=report.doubt))
    report.step(f"the database is loaded and equal: {len(expected.tables)} tables, {rows} rows")
