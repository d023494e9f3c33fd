"""What of a dump a server doesn't know or take, asked before anything is loaded: collations, engines, kinds, sizes."""

from collections import defaultdict
from collections.abc import Iterator

from pymysql.constants import ER

from sidecar.brief import some
from sidecar.database.server import QueryFailed, Session, quote_name
from sidecar.errors import Refused
from sidecar.manifest import Database

_MARIADBS_OWN = {"sequence", "package", "package body"}
_SHOWN = 3


def unknown_to(session: Session, dump: Database) -> list[str]:
    """What the server would refuse of the dump, a phrase each with the first tables or names that have it."""
    collations: dict[str, list[str]] = defaultdict(list)
    engines: dict[str, list[str]] = defaultdict(list)
    for table in dump.tables:
        for name in sorted(set(_collations(table.definition))):
            collations[name].append(table.name)
        own = table.definition.get("table")
        if isinstance(own, dict) and own.get("ENGINE"):
            engines[str(own["ENGINE"])].append(table.name)
    known = {
        row[0] for row in session.texts("SELECT UPPER(ENGINE) FROM information_schema.ENGINES WHERE SUPPORT <> 'NO'")
    }
    found = [f"collation {name} ({some(of, _SHOWN)})" for name, of in collations.items() if not _knows(session, name)]
    found += [f"engine {name} ({some(of, _SHOWN)})" for name, of in engines.items() if name.upper() not in known]
    if session.flavour == "mysql":
        found += [f"{each.kind} {each.name}" for each in dump.objects if each.kind in _MARIADBS_OWN]
    return found


def check_largest(session: Session, dump: Database, server: str = "the server") -> None:
    """Raise `Refused` where the server takes no statement as large as the dump's largest; `server` is its name here."""
    if dump.largest_statement > session.packet_limit:
        raise Refused(
            f"the dump holds a statement of {dump.largest_statement} bytes, {server} takes {session.packet_limit}",
            mend=f"Set max_allowed_packet to {dump.largest_statement + 1024} or more on {server}.",
        )


def _collations(definition: dict[str, object]) -> Iterator[str]:
    table, columns = definition.get("table"), definition.get("columns")
    if isinstance(table, dict) and table.get("TABLE_COLLATION"):
        yield str(table["TABLE_COLLATION"])
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict) and column.get("COLLATION_NAME"):
            yield str(column["COLLATION_NAME"])


def _knows(session: Session, collation: str) -> bool:
    """By using it: newer servers know names of the other flavour's that they don't list."""
    try:
        session.query(f"SELECT CONVERT('' USING utf8mb4) COLLATE {quote_name(collation)}")
    except QueryFailed as error:
        # Any other refusal says that it knows the collation, which is of another character set.
        return error.code != ER.UNKNOWN_COLLATION
    return True
