"""What a database holds beside tables: views, triggers, routines, events, sequences, with the text that makes each."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sidecar.database.server import QueryFailed, Session, quote_name, quote_text, text
from sidecar.database.tables import without_database
from sidecar.manifest import SchemaObject

EVENT_ENABLED = re.compile(
    rb"(?P<head>\ACREATE (?:DEFINER=(?P<definer>.+?) )?EVENT `(?:[^`]|``)+` ON SCHEDULE .+? "
    rb"ON COMPLETION (?:NOT )?PRESERVE )ENABLE\b",
    re.DOTALL,
)
"""What SHOW CREATE prints of an event that is enabled, up to that word."""

_SOURCE = re.compile(
    r"\b(?:from|join)[\s(]+(?:`(?P<database>(?:[^`]|``)+)`\.)?`(?P<table>(?:[^`]|``)+)`(?!\.)", re.IGNORECASE
)
_COMMON_TABLE = re.compile(
    r"(?:\bwith(?: recursive)?|,) *(?:`((?:[^`]|``)+)`|([^\s`(),]+))(?: *\([^()]*\))? as \(", re.IGNORECASE
)
"""Names that a view's own WITH gives; MariaDB prints them without quotes."""
_QUOTED = re.compile(r"(`(?:[^`]|``)*`)|'(?:[^'\\]|\\.|'')*'", re.DOTALL)


@dataclass(frozen=True)
class Created:
    """A view, trigger, routine, event or sequence with the text that makes it and the session it was made in."""

    described: SchemaObject
    sql: bytes
    settings: dict[str, str] = field(default_factory=dict)


class ObjectReader:
    """SHOW CREATE of everything that isn't a table; what may not be read is put down by name."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.unreadable: list[str] = []

    def sequences(self, names: Iterable[str]) -> tuple[Created, ...]:
        """The sequences of these names."""
        return self._each("sequence", names, self._sequence)

    def views(self, names: Iterable[str]) -> tuple[Created, ...]:
        """The views of these names; one that refers to what isn't there any more is put down as unreadable."""
        return self._each("view", names, self._view)

    def loadable(self, views: Iterable[Created], there: Iterable[str]) -> tuple[Created, ...]:
        """The views that refer to nothing beside the tables that are `there`, and each other; the others are put down.

        Their load would fail: for a user who may not read all tables, a view may well reach further than the dump.
        """
        found = list(views)
        while True:
            known = {*there, *(view.described.name for view in found)}
            lost = [view for view in found if not _sources(view.described.definition["sql"]) <= known]
            if not lost:
                return tuple(found)
            self.unreadable += [f"view {view.described.name}" for view in lost]
            found = [view for view in found if view not in lost]

    def _each(self, kind: str, names: Iterable[str], read: Callable[[str], Created | None]) -> tuple[Created, ...]:
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

    def _sequence(self, name: str) -> Created:
        sql = self.session.query(f"SHOW CREATE SEQUENCE {quote_name(name)}")[0][1] or b""
        following = self.session.value(f"SELECT next_not_cached_value FROM {quote_name(name)}")  # noqa: S608
        described = SchemaObject(kind="sequence", name=name, definition={"sql": text(sql), "next": following})
        return Created(described, sql)

    def _view(self, name: str) -> Created | None:
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

    def triggers(self, tables: Collection[str]) -> tuple[Created, ...]:
        """Every trigger of these tables, those of one table and moment in the order in which they fire.

        One of another table would not load, and is put down as unreadable.
        """
        found = self.session.texts(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
            "WHERE TRIGGER_SCHEMA = DATABASE() "
            "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
        )
        self.unreadable += [f"trigger {name}" for name, table in found if table not in tables]
        return self._each("trigger", [name or "" for name, table in found if table in tables], self._trigger)

    def _trigger(self, name: str) -> Created | None:
        row = self.session.query(f"SHOW CREATE TRIGGER {quote_name(name)}")[0]
        return self._created("trigger", name, row[2], row[1], row[3], row[4])

    def routines(self) -> tuple[Created, ...]:
        """Every function, procedure and package; by kind and name."""
        found = self.session.texts(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES "
            "WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY ROUTINE_TYPE, ROUTINE_NAME"
        )
        created: list[Created] = []
        for kind in ("FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY"):
            names = [name or "" for type_, name in found if type_ == kind]
            created += self._each(kind.lower(), names, lambda name, kind=kind: self._routine(kind, name))  # type: ignore[misc]
        return tuple(created)

    def _routine(self, kind: str, name: str) -> Created | None:
        row = self.session.query(f"SHOW CREATE {kind} {quote_name(name)}")[0]
        return self._created(kind.lower(), name, row[2], row[1], row[3], row[4])

    def events(self) -> tuple[Created, ...]:
        """Every event; what is compared of it doesn't tell whether it is enabled."""
        names = self.session.texts(
            "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY EVENT_NAME"
        )
        return self._each("event", [name or "" for (name,) in names], self._event)

    def _event(self, name: str) -> Created | None:
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
        return str(without_database(without_definer(sql).decode("utf-8", "backslashreplace"), self.session.database))


def _sources(sql: str) -> set[str]:
    """The tables of its own database that a view reads from, by the text that the server makes of it."""
    plain = _QUOTED.sub(lambda match: match[1] or "''", sql)
    found = {match["table"] for match in _SOURCE.finditer(plain) if match["database"] is None}
    common = {quoted or bare for quoted, bare in _COMMON_TABLE.findall(plain)}
    return {name.replace("``", "`") for name in found - common}


def without_definer(sql: bytes) -> bytes:
    """A CREATE statement without `DEFINER=user@host`, so that whoever runs it becomes the definer."""
    name = rb"(?:`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|[\w.%-]+)"
    definer = re.compile(rb"\ADEFINER=" + name + rb"@" + name + rb"\s?")
    head, found, rest = sql.partition(b"DEFINER=")
    # Only a DEFINER in the head counts: one further back is the user's own text.
    if not found or len(head) > 80:
        return sql
    return head + definer.sub(b"", found + rest, count=1)
