"""What a database is made of: its tables, views, triggers, routines and events, each as normalised rows."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sidecar.database.rights import may, privileges
from sidecar.database.server import QueryFailed, Session, quote_name, quote_text, text
from sidecar.manifest import SchemaObject

MARKER = "kimai_backup_restore"
"""The table that marks a load under way (`objects.mark`)."""
INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}

EVENT_ENABLED = re.compile(
    rb"(?P<head>\ACREATE (?:DEFINER=(?P<definer>.+?) )?EVENT `(?:[^`]|``)+` ON SCHEDULE .+? "
    rb"ON COMPLETION (?:NOT )?PRESERVE )ENABLE\b",
    re.DOTALL,
)
"""What SHOW CREATE prints of an event that is enabled, up to that word."""

Rows = dict[str, list[dict[str, str | None]]]


@dataclass(frozen=True)
class Column:
    """One column, as far as rendering needs it."""

    name: str
    data_type: str
    column_type: str
    charset: str | None
    nullable: bool
    generated: bool


@dataclass(frozen=True)
class Table:
    """One base table: its columns in order, the integer key that its rows can be read in the order of, if any."""

    name: str
    engine: str
    columns: tuple[Column, ...]
    key: str | None
    primary: tuple[str, ...]
    average_row: int
    versioned: bool
    definition: dict[str, Any]

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that an INSERT may name."""
        return tuple(column for column in self.columns if not column.generated)


@dataclass(frozen=True)
class Created:
    """A view, trigger, routine, event or sequence with the text that makes it and the session it was made in."""

    described: SchemaObject
    sql: bytes
    settings: dict[str, str] = field(default_factory=dict)


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


def read_tables(session: Session) -> tuple[Table, ...]:
    """Every base table with columns, keys and constraints; by name."""
    rows = _select(session, "TABLES", "TABLE_NAME", _TABLE)
    columns = _by_table(_select(session, "COLUMNS", "TABLE_NAME, ORDINAL_POSITION", _COLUMN + _srs(session)))
    details = {kind: _by_table(found) for kind, found in _details(session).items()}
    return tuple(
        _table(session, row, columns[row["TABLE_NAME"] or ""], details)
        for row in rows
        if row["TABLE_TYPE"] in ("BASE TABLE", "SYSTEM VERSIONED") and row["TABLE_NAME"] != MARKER
    )


def read_schema(session: Session) -> Schema:
    """Everything that a dump holds besides rows. What may not be read is named, never left out in silence."""
    charset = session.texts("SELECT @@character_set_database, @@collation_database")[0]
    kinds = session.texts(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME"
    )
    tables = read_tables(session)
    reader = _Reader(session)
    triggers, routines, events = reader.triggers(), reader.routines(), reader.events()
    return Schema(
        charset=charset[0] or "",
        collation=charset[1] or "",
        tables=tables,
        sequences=reader.each("sequence", [n or "" for n, kind in kinds if kind == "SEQUENCE"], reader.sequence),
        views=reader.each("view", [n or "" for n, kind in kinds if kind == "VIEW"], reader.view),
        triggers=triggers,
        routines=routines,
        events=events,
        unreadable=tuple(
            _beyond_sight(session)
            + reader.unreadable
            + [f"{kind} {n}" for n, kind in kinds if kind not in _KNOWN_TYPES]
        ),
        unseen=_unseen(session),
        notes=(*_notes(tables), *_strange_modes((*triggers, *routines, *events))),
    )


def create_table(session: Session, table: Table) -> bytes:
    """The statement that makes the table, as the server prints it."""
    created = session.query(f"SHOW CREATE TABLE {quote_name(table.name)}")[0][1] or b""
    # MariaDB names the database before a sequence in a default, which would tie the dump to that name.
    return created.replace(f"nextval({quote_name(session.database)}.".encode(), b"nextval(")


_STRANGE_MODES = ("ANSI_QUOTES", "NO_BACKSLASH_ESCAPES")
"""Under these, SQL text reads differently: a restore refuses it rather than guess."""
_KNOWN_TYPES = {"BASE TABLE", "SYSTEM VERSIONED", "VIEW", "SEQUENCE"}
_TABLE = [
    "TABLE_NAME",
    "TABLE_TYPE",
    "ENGINE",
    "ROW_FORMAT",
    "TABLE_COLLATION",
    "CREATE_OPTIONS",
    "TABLE_COMMENT",
]
_TABLE += ["AVG_ROW_LENGTH"]
_COLUMN = ["TABLE_NAME", "COLUMN_NAME", "COLUMN_DEFAULT", "IS_NULLABLE", "DATA_TYPE", "COLUMN_TYPE"]
_COLUMN += ["CHARACTER_SET_NAME", "COLLATION_NAME", "EXTRA", "GENERATION_EXPRESSION", "COLUMN_COMMENT"]
_INDEX = ["TABLE_NAME", "INDEX_NAME", "SEQ_IN_INDEX", "NON_UNIQUE", "COLUMN_NAME", "COLLATION", "SUB_PART"]
_INDEX += ["INDEX_TYPE", "INDEX_COMMENT"]
_FOREIGN = ["TABLE_NAME", "CONSTRAINT_NAME", "REFERENCED_TABLE_NAME", "UPDATE_RULE", "DELETE_RULE"]
_USAGE = ["TABLE_NAME", "CONSTRAINT_NAME", "ORDINAL_POSITION", "COLUMN_NAME", "REFERENCED_COLUMN_NAME"]
_PARTITION = ["TABLE_NAME", "PARTITION_NAME", "SUBPARTITION_NAME", "PARTITION_METHOD", "SUBPARTITION_METHOD"]
_PARTITION += ["PARTITION_EXPRESSION", "SUBPARTITION_EXPRESSION", "PARTITION_DESCRIPTION"]


def _srs(session: Session) -> list[str]:
    return ["SRS_ID"] if session.flavour == "mysql" else []


def _details(session: Session) -> dict[str, list[dict[str, str | None]]]:
    visible = ["IGNORED"] if session.flavour == "mariadb" else ["IS_VISIBLE", "EXPRESSION"]
    return {
        "indexes": _select(session, "STATISTICS", "TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX", _INDEX + visible),
        "foreign_keys": _select(
            session,
            "REFERENTIAL_CONSTRAINTS",
            "TABLE_NAME, CONSTRAINT_NAME",
            _FOREIGN,
            schema="CONSTRAINT_SCHEMA",
        ),
        "foreign_key_columns": _select(
            session,
            "KEY_COLUMN_USAGE",
            "TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
            _USAGE,
            where="REFERENCED_TABLE_NAME IS NOT NULL",
        ),
        "checks": _checks(session),
        "partitions": _select(
            session,
            "PARTITIONS",
            "TABLE_NAME, PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION",
            _PARTITION,
            where="PARTITION_NAME IS NOT NULL",
        ),
    }


def _checks(session: Session) -> list[dict[str, str | None]]:
    if session.flavour == "mariadb":
        names = ["TABLE_NAME", "CONSTRAINT_NAME", "CHECK_CLAUSE"]
        return _select(session, "CHECK_CONSTRAINTS", "TABLE_NAME, CONSTRAINT_NAME", names, schema="CONSTRAINT_SCHEMA")
    rows = session.texts(
        "SELECT t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE, t.ENFORCED "
        "FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t "
        "USING (CONSTRAINT_SCHEMA, CONSTRAINT_NAME) WHERE c.CONSTRAINT_SCHEMA = DATABASE() "
        "ORDER BY t.TABLE_NAME, c.CONSTRAINT_NAME"
    )
    return [dict(zip(("TABLE_NAME", "CONSTRAINT_NAME", "CHECK_CLAUSE", "ENFORCED"), r, strict=True)) for r in rows]


def _select(
    session: Session,
    table: str,
    order: str,
    names: list[str],
    *,
    schema: str = "TABLE_SCHEMA",
    where: str = "",
) -> list[dict[str, str | None]]:
    condition = f" AND {where}" if where else ""
    rows = session.texts(
        f"SELECT {', '.join(names)} FROM information_schema.{table} "  # noqa: S608 - names are this module's own
        f"WHERE {schema} = DATABASE(){condition} ORDER BY {order}"
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def _by_table(rows: Iterable[dict[str, str | None]]) -> Rows:
    found: Rows = defaultdict(list)
    for row in rows:
        found[row.pop("TABLE_NAME") or ""].append(row)
    return found


def _table(session: Session, row: dict[str, str | None], columns: Any, details: dict[str, Rows]) -> Table:
    name = row["TABLE_NAME"] or ""
    primary = tuple(i["COLUMN_NAME"] or "" for i in details["indexes"][name] if i["INDEX_NAME"] == "PRIMARY")
    types = {column["COLUMN_NAME"]: column["DATA_TYPE"] for column in columns}
    integer_key = len(primary) == 1 and types.get(primary[0]) in INTEGERS
    # Only there do rows come in the key's order without being sorted: not from partitions, not from a MyISAM file.
    ascending = all(i["COLLATION"] == "A" for i in details["indexes"][name] if i["INDEX_NAME"] == "PRIMARY")
    in_order = row["ENGINE"] == "InnoDB" and not details["partitions"][name] and ascending
    # Aria spells this default of its own out once it has been spelt out.
    row["CREATE_OPTIONS"] = (row["CREATE_OPTIONS"] or "").replace("page_checksum=1", "").strip()
    definition = {
        "table": {k: v for k, v in row.items() if k not in ("TABLE_NAME", "AVG_ROW_LENGTH")},
        "columns": columns,
        # A load adds secondary indexes late: their order among each other is no part of what a table is.
        **{kind: sorted(found[name], key=repr) for kind, found in details.items() if found[name]},
    }
    return Table(
        name=name,
        engine=row["ENGINE"] or "",
        columns=tuple(_column(column) for column in columns),
        key=primary[0] if integer_key and in_order else None,
        primary=primary,
        average_row=int(row["AVG_ROW_LENGTH"] or 0),
        versioned=row["TABLE_TYPE"] == "SYSTEM VERSIONED",
        definition=_without_database(definition, session.database),
    )


def _column(row: dict[str, str | None]) -> Column:
    extra = (row["EXTRA"] or "").upper()
    return Column(
        name=row["COLUMN_NAME"] or "",
        data_type=(row["DATA_TYPE"] or "").lower(),
        column_type=(row["COLUMN_TYPE"] or "").lower(),
        charset=row["CHARACTER_SET_NAME"],
        nullable=row["IS_NULLABLE"] == "YES",
        generated="VIRTUAL GENERATED" in extra or "STORED GENERATED" in extra or "PERSISTENT" in extra,
    )


def _without_database(value: Any, database: str) -> Any:
    """The same without the database's own name before an object's: a restore may go into another one."""
    if isinstance(value, dict):
        return {key: _without_database(inner, database) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_database(inner, database) for inner in value]
    return value.replace(quote_name(database) + ".", "") if isinstance(value, str) else value


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


class _Reader:
    """SHOW CREATE of everything that isn't a table; what may not be read is put down by name."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.unreadable: list[str] = []

    def each(self, kind: str, names: Iterable[str], read: Callable[[str], Created | None]) -> tuple[Created, ...]:
        found = []
        for name in names:
            try:
                created = read(name)
            except QueryFailed:
                created = None
            if created is None:
                self.unreadable.append(f"{kind} {name}")
            else:
                found.append(created)
        return tuple(found)

    def sequence(self, name: str) -> Created:
        sql = self.session.query(f"SHOW CREATE SEQUENCE {quote_name(name)}")[0][1] or b""
        following = self.session.value(f"SELECT next_not_cached_value FROM {quote_name(name)}")  # noqa: S608
        described = SchemaObject(kind="sequence", name=name, definition={"sql": text(sql), "next": following})
        return Created(described, sql)

    def view(self, name: str) -> Created | None:
        row = self.session.query(f"SHOW CREATE VIEW {quote_name(name)}")[0]
        columns = self.session.texts(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "  # noqa: S608
            f"AND TABLE_NAME = {quote_text(name)} ORDER BY ORDINAL_POSITION"
        )
        if not columns:  # it refers to what isn't there any more, and would not load
            return None
        sql = row[1] or b""
        settings = {"character_set_client": text(row[2]), "collation_connection": text(row[3])}
        definition = {"sql": self._comparable(sql), "columns": [column for (column,) in columns], **settings}
        return Created(SchemaObject(kind="view", name=name, definition=definition), sql, settings)

    def triggers(self) -> tuple[Created, ...]:
        names = self.session.texts(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() "
            "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
        )
        return self.each("trigger", [name or "" for (name,) in names], self.trigger)

    def trigger(self, name: str) -> Created | None:
        row = self.session.query(f"SHOW CREATE TRIGGER {quote_name(name)}")[0]
        return self._created("trigger", name, row[2], row[1], row[3], row[4])

    def routines(self) -> tuple[Created, ...]:
        found = self.session.texts(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES "
            "WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY ROUTINE_TYPE, ROUTINE_NAME"
        )
        created: list[Created] = []
        for kind in ("FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY"):
            names = [name or "" for type_, name in found if type_ == kind]
            created += self.each(kind.lower(), names, lambda name, kind=kind: self.routine(kind, name))  # type: ignore[misc]
        return tuple(created)

    def routine(self, kind: str, name: str) -> Created | None:
        row = self.session.query(f"SHOW CREATE {kind} {quote_name(name)}")[0]
        return self._created(kind.lower(), name, row[2], row[1], row[3], row[4])

    def events(self) -> tuple[Created, ...]:
        names = self.session.texts(
            "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY EVENT_NAME"
        )
        return self.each("event", [name or "" for (name,) in names], self.event)

    def event(self, name: str) -> Created | None:
        row = self.session.query(f"SHOW CREATE EVENT {quote_name(name)}")[0]
        created = self._created("event", name, row[3], row[1], row[4], row[5])
        if created is None:
            return None
        created.settings["time_zone"] = text(row[2])
        # A load is compared before it enables its events: that word is no part of what is compared.
        enabled = EVENT_ENABLED.match(created.sql)
        if enabled:
            disabled = enabled["head"] + b"DISABLE" + created.sql[enabled.end() :]
            created.described.definition["sql"] = self._comparable(disabled)
        return created

    def _created(
        self,
        kind: Any,
        name: str,
        sql: bytes | None,
        mode: bytes | None,
        client: bytes | None,
        collation: bytes | None,
    ) -> Created | None:
        if sql is None:  # the server shows the name and keeps the body to its owner
            return None
        settings = {
            "sql_mode": text(mode),
            "character_set_client": text(client),
            "collation_connection": text(collation),
        }
        definition = {"sql": self._comparable(sql), **settings}
        return Created(SchemaObject(kind=kind, name=name, definition=definition), sql, settings)

    def _comparable(self, sql: bytes) -> str:
        """The text without its DEFINER, which a restore may not keep, and without the database's own name."""
        return str(_without_database(without_definer(sql).decode("utf-8", "backslashreplace"), self.session.database))


def without_definer(sql: bytes) -> bytes:
    """A CREATE statement without `DEFINER=user@host`, so that whoever runs it becomes the definer."""
    name = rb"(?:`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|[\w.%-]+)"
    definer = re.compile(rb"\ADEFINER=" + name + rb"@" + name + rb"\s?")
    head, found, rest = sql.partition(b"DEFINER=")
    # Only a DEFINER in the head counts: one further back is the user's own text.
    if not found or len(head) > 80:
        return sql
    return head + definer.sub(b"", found + rest, count=1)
