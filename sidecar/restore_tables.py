"""Some tables brought back: loaded under names of their own, put in place once equal, their foreign keys tried."""

import logging
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

from sidecar.archive.source import Source
from sidecar.brief import some
from sidecar.database.compare import compare_definitions, compare_placed, refuse_different
from sidecar.database.load import Load
from sidecar.database.objects import MARKER, mark
from sidecar.database.orphans import find_orphans
from sidecar.database.picked import Picked
from sidecar.database.snapshot import take
from sidecar.errors import Refused
from sidecar.manifest import Database
from sidecar.placed import own_names, take_back_tables
from sidecar.restore_job import BLOCK, Job, Report
from sidecar.restore_note import RestoreNote
from sidecar.undisturbed import hold

log = logging.getLogger(__name__)

_SHOWN = 5


@contextmanager
def bringing(
    job: Job, tables: Database, all_tables: Collection[str], note: RestoreNote, report: Report
) -> Iterator[Load]:
    """A load of these tables alone; leaving by an error before all is settled takes away what it made, and only that.

    `all_tables` are the names of all that the dump holds.
    """
    places = own_names(note.run_id, (table.name for table in tables.tables))
    load = Load(job.connect, job.connections, advance=job.progress.advance, picked=Picked(places, all_tables))
    try:
        note.places, note.expected = places, tables
        note.objects = [["table", MARKER], *(["table", own] for own in places)]
        job.state.write_restore_note(note)
        with closing(job.connect()) as session:
            mark(session, note.run_id)
        yield load
    except BaseException:
        hold()
        if not note.is_settled:
            log.warning("taking back what was brought into %s", job.redacted_url)
            take_back_tables(note, job.state, job.connect, [load.thread_id])
        raise
    finally:
        load.close()
    for line in load.loaded.warnings:
        report.note(line)


def bring(job: Job, source: Source, tables: Database, load: Load, note: RestoreNote, report: Report) -> None:
    """Load the rows and compare them, put the tables in place, add their keys and triggers, look for orphans.

    Raises `Damaged` where they are not what was backed up, `Refused` where rows would refer to what isn't there.
    """
    job.progress.phase("load the tables", total=source.database_size)
    with source.open(source.database_name) as sql:
        load.load_rows(iter(lambda: sql.read(BLOCK), b""))
    rows = sum(table.rows for table in tables.tables)
    job.progress.phase("compare the tables", total=rows, unit="items")
    with take(job.connect, job.connections) as snapshot:
        refuse_different(compare_placed(snapshot, tables, note.places, job.progress.advance))
    # From here on a table that isn't there under its own name any more may be in place (`placed`).
    note.placing = True
    job.state.write_restore_note(note)
    load.place()
    load.finish()
    names = [table.name for table in tables.tables]
    with closing(job.connect()) as session:
        refuse_different(compare_definitions(session, tables, report.doubt))
        orphans = find_orphans(session, names)
    if orphans:
        raise Refused(
            f"rows would refer to what is not there: {'; '.join(map(str, orphans[:_SHOWN]))}",
            mend="Delete or change those rows, or bring back as well the tables that they refer to.",
        )
    report.step(f"{some(names, _SHOWN)} is back and equal: {rows} rows, and every foreign key holds")
