"""What stands in a database, by kind and name: to tell an empty one, and to take away what a failed load made."""

from collections.abc import Iterable

from sidecar.database.server import Session, quote_name

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


def drop(session: Session, objects: Iterable[tuple[str, str]]) -> None:
    """Drop these, those that aren't there as well. Foreign keys don't hold a table back: sessions don't check them."""
    session.without_read_deadline()
    session.query("SET SESSION lock_wait_timeout=60")
    named = set(objects)
    for kind, statement in _DROPS.items():
        for name in sorted(name for its_kind, name in named if its_kind == kind):
            session.query(f"DROP {statement} IF EXISTS {quote_name(name)}")
