"""What a database is made of: its tables and all that stands beside them, and what of it could not be read."""

from collections.abc import Iterable
from dataclasses import dataclass

from pymysql.constants import ER

from sidecar.database.created import Created, ObjectReader
from sidecar.database.rights import may, privileges
from sidecar.database.server import QueryFailed, Session, quote_name
from sidecar.database.tables import Table, read_tables
from sidecar.manifest import SchemaObject

_STRANGE_MODES = ("ANSI_QUOTES", "NO_BACKSLASH_ESCAPES")
"""Under these, SQL text reads differently: a restore refuses it rather than guess."""
DENIED = {ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR}
_KNOWN_TYPES = {"BASE TABLE", "SYSTEM VERSIONED", "VIEW", "SEQUENCE"}


@dataclass(frozen=True)
class Schema:
    """All of a database's definitions, and what of them could not be read, or could not even be seen."""

    charset: str
    collation: str
    tables: tuple[Table, ...]
    sequences: tuple[Created, ...]
    views: tuple[Created, ...]
    triggers: tuple[Created, ...]
    routines: tuple[Created, ...]
    events: tuple[Created, ...]
    unreadable: tuple[str, ...]
    unseen: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def objects(self) -> list[SchemaObject]:
        """Everything that isn't a table, as the manifest keeps it."""
        groups = (self.sequences, self.views, self.triggers, self.routines, self.events)
        return [created.described for group in groups for created in group]


def read_schema(session: Session) -> Schema:
    """Everything that a dump holds besides rows. What may not be read is named, never left out in silence."""
    charset = session.texts("SELECT @@character_set_database, @@collation_database")[0]
    kinds = session.texts(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME"
    )
    tables, forbidden = _readable(session, read_tables(session))
    reader = ObjectReader(session)
    triggers = reader.triggers([table.name for table in tables])
    routines, events = reader.routines(), reader.events()
    sequences = reader.sequences([n or "" for n, kind in kinds if kind == "SEQUENCE"])
    views = reader.views([n or "" for n, kind in kinds if kind == "VIEW"])
    if not may(privileges(session), "SELECT"):
        there = [*(table.name for table in tables), *(each.described.name for each in sequences)]
        views = reader.loadable(views, there)
    return Schema(
        charset=charset[0] or "",
        collation=charset[1] or "",
        tables=tables,
        sequences=sequences,
        views=views,
        triggers=triggers,
        routines=routines,
        events=events,
        unreadable=tuple(
            _beyond_sight(session)
            + forbidden
            + reader.unreadable
            + [f"{kind} {n}" for n, kind in kinds if kind not in _KNOWN_TYPES]
        ),
        unseen=_unseen(session),
        notes=(*_notes(tables), *_strange_modes((*triggers, *routines, *events))),
    )


def _unseen(session: Session) -> tuple[str, ...]:
    granted = privileges(session)
    kinds = {"TRIGGER": "triggers", "EVENT": "events"}
    unseen = [what for privilege, what in kinds.items() if not may(granted, privilege)]
    if not {"EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "ALL PRIVILEGES", "SHOW_ROUTINE"} & granted:
        unseen.append("routines")
    return tuple(unseen)


def _beyond_sight(session: Session) -> list[str]:
    """Tables that one has no right on are invisible: without one on all of them nobody knows which there are."""
    if may(privileges(session), "SELECT"):
        return []
    return ["tables that the user may not see, if there are any: it has no SELECT on the whole database"]


def _readable(session: Session, tables: tuple[Table, ...]) -> tuple[tuple[Table, ...], list[str]]:
    """The tables whose rows may be read, and the names of the others: any right on a table makes it visible."""
    if may(privileges(session), "SELECT"):
        return tables, []
    found = []
    for table in tables:
        columns = ", ".join(quote_name(column.name) for column in table.columns)
        try:
            session.query(f"SELECT {columns} FROM {quote_name(table.name)} LIMIT 0")  # noqa: S608
        except QueryFailed as error:
            if error.code not in DENIED:
                raise
        else:
            found.append(table)
    return tuple(found), [f"table {table.name}" for table in tables if table not in found]


def _notes(tables: Iterable[Table]) -> Iterable[str]:
    for table in tables:
        if table.versioned:
            yield f"table {table.name} is system-versioned: its rows are in the dump, its history is not"
        if table.engine != "InnoDB":
            yield f"table {table.name} is {table.engine}, not InnoDB: rows written during the dump may be in it"
        if any(c.data_type == "json" and c.charset is None for c in table.columns):
            yield f"table {table.name} has JSON: a value typed as DECIMAL or by a cast comes back as plain JSON"


def _strange_modes(group: Iterable[Created]) -> Iterable[str]:
    for created in group:
        mode = next((m for m in _STRANGE_MODES if m in created.settings.get("sql_mode", "").split(",")), None)
        if mode is not None:
            described = f"{created.described.kind} {created.described.name}"
            yield f"{described} was made under the sql_mode {mode}: a restore may refuse it, a native client loads it"
