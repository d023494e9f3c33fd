"""Claiming a database for a restore: once Kimai migrates what was loaded, everything in it is the restore's."""

from sidecar.database.objects import at_work, contents, kill, marked
from sidecar.database.snapshot import Connect
from sidecar.restore_note import RestoreNote


def claim(note: RestoreNote, connect: Connect) -> None:
    """Name in the note all that stands in the database, beside what it names already, so that it is taken back.

    Only where the restore's own marker still stands there: without it the database was made anew by somebody else.
    Statements that are still carried out there are ended first: a migration outlives the console that began it.
    """
    session = connect()
    try:
        if marked(session) != note.run_id:
            return
        kill(session, at_work(session))
        note.objects += [[kind, name] for kind, name in contents(session) if [kind, name] not in note.objects]
    finally:
        session.close()
