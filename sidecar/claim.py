"""Claiming a database for a restore: once Kimai migrates what was loaded, everything in it is the restore's."""

from sidecar.database.objects import contents, marked
from sidecar.database.snapshot import Connect
from sidecar.state import RestoreNote


def claim(note: RestoreNote, connect: Connect) -> None:
    """Name in the note all that stands in the database, beside what it names already, so that it is taken back.

    Only where the restore's own marker still stands there: without it the database was made anew by somebody else.
    """
    session = connect()
    try:
        if marked(session) != note.run_id:
            return
        note.objects += [[kind, name] for kind, name in contents(session) if [kind, name] not in note.objects]
    finally:
        session.close()
