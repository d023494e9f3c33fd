"""Tables that a restore brings under names of its own and then puts in place: which may be dropped after a failure.

A table of such a name is the restore's and nobody else's. One that has its own name by then is only dropped while it
holds what the backup does, row for row: nothing is lost by that.
"""

import logging
from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path

from sidecar.brief import some
from sidecar.database.compare import compare_placed
from sidecar.database.objects import MARKER, carrying_out, contents, drop, kill, marked
from sidecar.database.server import Session
from sidecar.database.snapshot import Connect, take
from sidecar.errors import Refused
from sidecar.restore_note import RestoreNote
from sidecar.state import State

log = logging.getLogger(__name__)

_SHOWN = 5


def own_names(run_id: str, tables: Iterable[str]) -> dict[str, str]:
    """A name that only this run gives, for each of the tables; by that name."""
    return {f"{MARKER}_{run_id}_{number}": name for number, name in enumerate(tables)}


def placed(session: Session, note: RestoreNote) -> dict[str, str]:
    """The tables that have been put in place by this restore, by the name that each went by before.

    None without its marker: then somebody else has made the database, or tidied it up, since.
    """
    there = {name for kind, name in contents(session) if kind == "table"}
    if not note.placing or marked(session) != note.run_id:
        return {}
    return {own: name for own, name in note.places.items() if own not in there and name in there}


def check_placed(
    note: RestoreNote, connect: Connect, journal: Path, *, tables: Collection[str], discard: bool
) -> list[str]:
    """Those of a killed restore's tables that are in place and that taking back drops.

    Raises `Refused` where that would lose rows, unless `discard`, and where the restore at hand brings other `tables`:
    Kimai would be left without those.
    """
    with closing(connect()) as session:
        there = placed(session, note)
    left = sorted(set(there.values()) - set(tables))
    if left:
        raise Refused(
            f"a restore of {note.backup} was killed when {some(left, _SHOWN)} had just been put in place",
            mend=f"Run `kimai-backup {note.again}` again first. {_leave(journal)}",
        )
    if there and not discard and _are_changed(note, there, connect):
        raise Refused(
            f"a restore of {note.backup} was killed, and {some(sorted(there.values()), _SHOWN)}, which it brought, "
            "was written to since, so it is not dropped",
            mend=f"If it can go, pass --discard-killed. {_leave(journal)}",
        )
    return sorted(there.values())


def take_back_tables(
    note: RestoreNote, state: State, connect: Connect, threads: Iterable[int], *, discard: bool = False
) -> None:
    """Drop what a restore of tables made; those that somebody has written to since stay, and in the note.

    In this order: end what the server still carries out, look what is in place, and write that down before anything
    is dropped, as what is not there any more would look like put in place.
    """
    with closing(connect()) as session:
        kill(session, [*threads, *carrying_out(session, f"{MARKER}_{note.run_id}")])
        there = placed(session, note)
        whose = marked(session)
        note.places = there
        state.write_restore_note(note)
        drop(session, [(kind, name) for kind, name in note.objects if name != MARKER])
        if there and not discard and _are_changed(note, there, connect):
            log.warning(
                "%s is in place and was written to meanwhile, so it stays", some(sorted(there.values()), _SHOWN)
            )
            return
        drop(session, [("table", name) for name in there.values()])
        if whose in (None, note.run_id):
            drop(session, [("table", MARKER)])
    note.objects, note.places, note.placing = [], {}, False


def _are_changed(note: RestoreNote, there: dict[str, str], connect: Connect) -> bool:
    """Whether what is in place holds other rows than the backup; what is still to be made of it, keys say nothing."""
    if note.expected is None:
        return True
    with take(connect, 1) as snapshot:
        return bool(compare_placed(snapshot, note.expected, {name: name for name in there.values()}))


def _leave(journal: Path) -> str:
    return f"If it is to stay as it is, drop the table {MARKER} and remove {journal}."
