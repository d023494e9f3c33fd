"""Claiming a database for a restore, by its mark: what another restore, or nobody, has marked is not its own."""

from sidecar.database.objects import at_work, contents, kill, marked
from sidecar.database.snapshot import Connect
from sidecar.errors import Refused
from sidecar.restore_note import RestoreNote


def check_mark(its: str | None, note: RestoreNote) -> None:
    """Raise `Refused` where the database bears the mark of another restore."""
    if its not in (None, note.run_id):
        raise Refused(
            "the database bears the mark of another restore, whose journal lies in another BACKUP_STATE_DIR",
            mend="End that one first, with its BACKUP_STATE_DIR.",
        )


def claim(note: RestoreNote, connect: Connect) -> None:
    """Name in the note all that stands in the database, beside what it names already, so that it is taken back.

    Once Kimai migrates what was loaded, everything in it is the restore's.
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
