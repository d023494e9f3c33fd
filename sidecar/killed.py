"""What a restore that was killed left: shown to be still its own, and then taken back."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sidecar.claim import claim
from sidecar.database.compare import compare
from sidecar.database.objects import MARKER, contents, drop, kill, marked
from sidecar.database.server import Session
from sidecar.database.snapshot import Connect, take
from sidecar.errors import Refused
from sidecar.fresh import find_fresh
from sidecar.kimai.recovery import Leftover
from sidecar.kimai.target import Target
from sidecar.placed import check_placed, take_back_tables
from sidecar.restore_note import RestoreNote
from sidecar.state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Killed:
    """A restore that did not end: its journal, if the database is concerned, and the folders of its files."""

    note: RestoreNote | None
    folders: tuple[Leftover, ...]
    journal: Path

    @property
    def done(self) -> bool:
        """Everything was in place and settled: only tidying up is left."""
        if self.note is None or not self.note.is_settled:
            return False
        # Into an empty database the files' own journal decides as well; over one in use the note alone does.
        return self.note.replacing is not None or not any(each.state == "swapping" for each in self.folders)

    @property
    def is_unfinished(self) -> bool:
        """It was over an instance in use, and waits for `--resume` or `--rollback`."""
        return self.note is not None and self.note.replacing is not None and not self.note.is_settled

    @property
    def objects(self) -> list[tuple[str, str]]:
        """Kind and name of what may stand in the database by it."""
        if self.note is None:
            return []
        if self.done:
            return [("table", MARKER)]
        return [*((kind, name) for kind, name in self.note.objects), ("table", MARKER)]

    def __bool__(self) -> bool:
        return self.note is not None or bool(self.folders)

    def __str__(self) -> str:
        return f"a restore of {self.note.backup} was killed" if self.note else "a restore that was killed left files"


def find_killed(state: State, kimai: Target) -> Killed:
    """Look for what a killed restore left; nothing is touched."""
    return Killed(state.restore_note(), tuple(kimai.leftovers()), state.journal)


def check_ours(killed: Killed, connect: Connect, database: str, *, files_only: bool, discard: bool) -> None:
    """Raise `Refused` unless the database may lose what the killed restore made.

    It may where the load was cut off before it had made everything, which no Kimai can have run on, and where what
    stands there is still the backup, row for row. `discard`: the admin says that it may. What Kimai's migrations have
    made is named in the note then, too.
    """
    if killed.note is None or killed.done:
        return
    check_same_database(killed.note, database)
    if killed.note.tables:
        check_placed(killed.note, connect, killed.journal, tables=(), discard=discard)
        return
    if files_only and killed.note.objects:
        raise Refused(
            f"{killed}, and its database has to be taken back first", mend="Restore without --only files once."
        )
    if not discard and not _is_unused(killed.note, connect):
        raise Refused(
            f"{killed}, and the database was written to since, so it is not dropped",
            mend="If it can go, pass --discard-killed. "
            f"If it is in use, drop its table {MARKER} and remove {killed.journal}.",
        )
    if killed.note.upgrading and killed.note.objects:
        claim(killed.note, connect)


def check_same_database(note: RestoreNote, database: str) -> None:
    """Raise `Refused` unless the killed restore went into this database."""
    if note.database != database:
        raise Refused(
            f"a restore of {note.backup} was killed that went into {note.database}, DATABASE_URL is {database}",
            mend="Set DATABASE_URL to that database once more, so that it can be tidied up.",
        )


def take_back(
    killed: Killed,
    state: State,
    connect: Connect,
    kimai: Target,
    *,
    discard: bool = False,
    then: RestoreNote | None = None,
) -> None:
    """Drop what the killed restore made, put its old files back, delete its folders; `check_ours` comes first.

    `discard`: tables that it put in place go although they were written to since. `then` takes the place of its note.
    """
    if killed.note is not None and killed.note.tables and not killed.done:
        take_back_tables(killed.note, state, connect, (), discard=discard)
        if killed.note.objects:
            raise Refused(f"{killed}, and what it brought was written to just now", mend="Run it again.")
    elif killed.note is not None:
        take_back_database(connect, killed.objects if killed.note.objects else [], ())
    for leftover in killed.folders:
        if killed.done:
            kimai.finish(leftover.run_id)
        else:
            for line in kimai.recover(leftover.run_id):
                log.warning("%s", line)
    if then is not None:
        state.write_restore_note(then)
    else:
        state.clear_restore_note()


def take_back_database(connect: Connect, objects: Iterable[tuple[str, str]], threads: Iterable[int]) -> None:
    """End statements that outlived their client, then drop what was made."""
    named = list(objects)
    if not named:
        return
    session = connect()
    try:
        kill(session, threads)
        drop(session, named)
    finally:
        session.close()


def _is_fresh(session: Session) -> bool:
    """Whether nothing stands there but what an installation makes: the load had not begun, and nobody came since."""
    try:
        find_fresh(session, [("table", MARKER)])
    except Refused:
        return False
    return True


def _is_unused(note: RestoreNote, connect: Connect) -> bool:
    session = connect()
    try:
        there = set(contents(session)) & {(kind, name) for kind, name in note.objects}
        mark = marked(session)
        is_fresh = mark in (None, note.run_id) and _is_fresh(session)
    finally:
        session.close()
    if not there or is_fresh:
        return True
    # Once Kimai has migrated it, nobody can tell what else was written.
    if mark != note.run_id or note.expected is None or note.upgrading:
        return False
    with take(connect, 1) as snapshot:
        differences = compare(snapshot, note.expected)
    # Foreign keys and other objects come last: where a definition lacks something, the load had not ended.
    unfinished = any(each.what != "rows" and each.what != "digest" for each in differences)
    return unfinished or not differences
