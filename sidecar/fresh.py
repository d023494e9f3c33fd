"""A database that holds nothing but what an installation made: it may make room for a backup."""

from collections.abc import Collection

from sidecar.database.objects import contents
from sidecar.database.server import Session, quote_name
from sidecar.errors import Refused
from sidecar.kimai.installed import is_kimais, rows_allowed

_SHOWN = 3


class InUse(Refused):
    """Somebody uses the database: what is in it may only be replaced."""


def find_fresh(session: Session, passing_over: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """The tables that an installation made and nobody has used; none for an empty database, else `InUse`."""
    there = [each for each in contents(session) if each not in passing_over]
    used = [f"{kind} {name}" for kind, name in there if kind != "table" or not is_kimais(name)]
    used = used or [f"table {name}, which has rows" for _, name in there if _has_more(session, name)]
    if used:
        raise InUse(
            f"database {session.database} is not empty: {len(there)} objects, such as {', '.join(used[:_SHOWN])}",
            mend="Restore into an empty database: make a new one, or drop and create this one if it can go. "
            "Or pass --replace: a safety backup is made first, and put back if the restore fails.",
        )
    return there


def _has_more(session: Session, table: str) -> bool:
    """Whether a table has more rows than a Kimai that nobody uses has in it."""
    allowed = rows_allowed(table)
    if allowed is None:
        return False
    return bool(session.query(f"SELECT 1 FROM {quote_name(table)} LIMIT {allowed}, 1"))  # noqa: S608 - quoted
