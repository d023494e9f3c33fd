"""What stands in a database, by kind and name: to tell an empty one, and to take away what a failed load made."""

import logging
import time
from collections.abc import Iterable, Iterator

from sidecar.database.server import QueryFailed, Session, quote_name, quote_text

log = logging.getLogger(__name__)

_ABOUT_TO_DROP = "?"
MARKER = "kimai_backup_restore"
"""The table that marks a load under way (`mark`)."""

KILL_DEADLINE = 30
"""Seconds that a killed statement may take to be undone."""
_NO_SUCH_THREAD = 1094
_DROPS = {
    "event": "EVENT",
    "view": "VIEW",
    "table": "TABLE",
    "sequence": "SEQUENCE",
    "procedure": "PROCEDURE",
    "function": "FUNCTION",
    "package body": "PACKAGE BODY",
    "package": "PACKAGE",
}
"""The kinds that are dropped by themselves, in this order; triggers go with their tables."""


def contents(session: Session) -> list[tuple[str, str]]:
    """Kind and name of everything in the database that the user can see; nothing means it is empty."""
    tables = session.texts(
        "SELECT TABLE_TYPE, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 2"
    )
    routines = session.texts(
        "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 2"
    )
    events = session.texts(
        "SELECT 'event', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY 2"
    )
    kinds = {"VIEW": "view", "SEQUENCE": "sequence"}
    found = [(kinds.get(kind or "", "table"), name or "") for kind, name in tables]
    return found + [((kind or "").lower(), name or "") for kind, name in (*routines, *events)]


def mark(session: Session, run_id: str) -> None:
    """Tell that a load is under way here, and whose it is, by a table that is no part of any dump."""
    make_mark(session)
    sign_mark(session, run_id)


def make_mark(session: Session) -> None:
    """The table of `mark`, if it is not there yet. It says nothing as long as it isn't signed."""
    session.query(f"CREATE TABLE IF NOT EXISTS {quote_name(MARKER)} (run_id VARCHAR(64) PRIMARY KEY) ENGINE=InnoDB")


def sign_mark(session: Session, run_id: str, *, about_to_drop: int = 0) -> None:
    """From here on the load of that run may drop what stands in the database.

    `about_to_drop` so many tables: as long as they all stand, the mark counts as unsigned. Sign it anew after that.
    """
    signature = f"{run_id}{_ABOUT_TO_DROP}{about_to_drop}" if about_to_drop else run_id
    name = quote_name(MARKER)
    if session.query(f"SELECT 1 FROM {name}"):  # noqa: S608 - our own table
        session.query(f"UPDATE {name} SET run_id = {quote_text(signature)}")  # noqa: S608 - quoted
    else:
        session.query(f"INSERT INTO {name} VALUES ({quote_text(signature)})")  # noqa: S608 - quoted


def marked(session: Session) -> str | None:
    """Whose load is, or was, under way here; None without a mark, or with one that a kill has left unsigned."""
    if not session.query(f"SHOW TABLES LIKE {quote_text(MARKER)}"):
        return None
    signature = session.value(f"SELECT MAX(run_id) FROM {quote_name(MARKER)}")  # noqa: S608 - our own table
    if signature is None:
        return None
    run_id, _, about_to_drop = signature.partition(_ABOUT_TO_DROP)
    return None if about_to_drop and tables_but_mark(session) >= int(about_to_drop) else run_id


def tables_but_mark(session: Session) -> int:
    """How many tables there are, but for the mark."""
    return sum(kind == "table" for kind, _ in contents_but_mark(session))


def contents_but_mark(session: Session) -> list[tuple[str, str]]:
    """The `contents` that are not the mark of a load."""
    return [each for each in contents(session) if each != ("table", MARKER)]


def clear(session: Session) -> int:
    """Drop everything but the mark of a load under way, and tell how much that was.

    What one's own connections still carry out here is ended first: it would hold up a drop, or make something anew.
    """
    kill(session, at_work(session))
    there = contents_but_mark(session)
    drop(session, there)
    return len(there)


def kill(session: Session, thread_ids: Iterable[int]) -> None:
    """End these connections of one's own at the server, and wait until they are gone: a statement outlives its client.

    Gives up after `KILL_DEADLINE`: what comes next then waits for its locks.
    """
    numbers = sorted(set(thread_ids))
    for number in numbers:
        try:
            session.query(f"KILL {number}")
        except QueryFailed as error:
            if error.code != _NO_SUCH_THREAD:
                raise
    deadline = time.monotonic() + KILL_DEADLINE
    while time.monotonic() < deadline:
        if not any(number in numbers for number, *_ in _connections(session)):
            return
        time.sleep(0.05)
    log.warning("the server still carries out a statement that was cut off")


def at_work(session: Session) -> list[int]:
    """The other connections of one's own that carry out a statement in this database."""
    own, user = session.texts("SELECT CONNECTION_ID(), USER()")[0]
    name = (user or "").rpartition("@")[0]
    return [
        number
        for number, whose, database, command in _connections(session)
        if whose == name and database == session.database and number != int(own or 0)
        if command not in ("Sleep", "Daemon")
    ]


def carrying_out(session: Session, part: str) -> list[int]:
    """The other connections of one's own whose statement holds this text."""
    own, user = session.texts("SELECT CONNECTION_ID(), USER()")[0]
    name = (user or "").rpartition("@")[0]
    rows = (row[:8] for row in session.texts("SHOW FULL PROCESSLIST"))
    return [
        int(number or 0)
        for number, whose, *_, statement in rows
        if whose == name and number != own and part in (statement or "")
    ]


def _connections(session: Session) -> Iterator[tuple[int, str | None, str | None, str | None]]:
    """Number, user, database and command of all connections that one may see.

    On MySQL information_schema can't be asked while one of them carries out a statement with an emoji (error 3854).
    """
    for number, user, _, database, command, *_ in session.texts("SHOW PROCESSLIST"):
        yield int(number or 0), user, database, command


def drop(session: Session, objects: Iterable[tuple[str, str]]) -> None:
    """Drop these, those that aren't there as well. Foreign keys don't hold a table back: sessions don't check them."""
    session.without_read_deadline()
    session.query("SET SESSION lock_wait_timeout=60")
    named = set(objects)
    for kind, statement in _DROPS.items():
        for name in sorted(name for its_kind, name in named if its_kind == kind):
            session.query(f"DROP {statement} IF EXISTS {quote_name(name)}")
