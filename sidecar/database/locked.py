"""A database of which all tables are locked: seen to hold what a manifest says, and dropped before anybody writes."""

from collections.abc import Callable
from contextlib import suppress

from sidecar.database.compare import Difference, compare_rows
from sidecar.database.objects import MARKER, at_work, clear, kill
from sidecar.database.server import QueryFailed, Session, quote_name
from sidecar.database.snapshot import Snapshot, base_tables
from sidecar.errors import Unreachable
from sidecar.manifest import Database


def drop_unchanged(
    session: Session, expected: Database, sign: Callable[[int], None], advance: Callable[[int], None]
) -> list[Difference]:
    """Drop all but the mark, which is there already; if any table or row is not as expected, tell that and drop none.

    The tables are locked from before the first is read until the last is gone: who writes meanwhile waits, and gets an
    error then, so that nobody takes for kept what is dropped. `sign` is told before the first drop how many tables are
    to go, and 0 after it: from then on no number of tables can mean that all stand. Raises `QueryFailed` where the
    locks can't be had within `lock_wait_timeout`; nothing is dropped then.
    """
    session.without_read_deadline()
    kill(session, at_work(session))
    tables = base_tables(session)
    session.query("LOCK TABLES " + ", ".join(f"{quote_name(name)} WRITE" for name in tables))
    try:
        snapshot = Snapshot([session])
        try:
            differences = compare_rows(snapshot, expected, advance)
        finally:
            snapshot.executor.shutdown()
        if not differences:
            going = [name for name in tables if name != MARKER]
            sign(len(going))
            for number, name in enumerate(going):
                session.query(f"DROP TABLE {quote_name(name)}")
                if number == 0:
                    sign(0)
    finally:
        # Where it was interrupted in the middle of an answer, or the server is gone: hanging up unlocks as well.
        with suppress(QueryFailed, Unreachable):
            session.query("UNLOCK TABLES")
    if not differences:
        # What no lock covers holds no rows: views, routines, events, sequences.
        clear(session)
    return differences
