"""Rows that refer to what isn't there: what a foreign key would refuse, found by asking, as a load checks none."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sidecar.database.server import Session, quote_name
from sidecar.manifest import Table

_SHOWN = 3
_LONGEST = 60


@dataclass(frozen=True)
class ForeignKey:
    """One foreign key: the table that refers, its columns, and those of the table that it refers to."""

    name: str
    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.table} ({', '.join(self.columns)}) to {self.parent} ({', '.join(self.parent_columns)})"


@dataclass(frozen=True)
class Orphans:
    """Rows that a foreign key would refuse: how many, and some of them by their columns' values."""

    key: ForeignKey
    count: int
    some: tuple[str, ...]

    def __str__(self) -> str:
        what = "row" if self.count == 1 else "rows"
        return f"{self.count} {what} of {self.key}, such as {', '.join(self.some)}"


def foreign_keys(session: Session) -> list[ForeignKey]:
    """Every foreign key within the database, those as well whose table is not there any more."""
    rows = session.texts(
        "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME "
        "FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() "
        "AND REFERENCED_TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
    )
    return _joined(
        (table or "", name or "", column or "", parent or "", other or "")
        for table, name, column, parent, other in rows
    )


def foreign_keys_of(table: Table) -> list[ForeignKey]:
    """Those that a manifest's table has."""
    definition = table.definition
    parents = {each["CONSTRAINT_NAME"]: each["REFERENCED_TABLE_NAME"] for each in definition.get("foreign_keys", [])}
    columns = sorted(definition.get("foreign_key_columns", []), key=lambda each: int(each["ORDINAL_POSITION"]))
    return _joined(
        (
            table.name,
            each["CONSTRAINT_NAME"],
            each["COLUMN_NAME"],
            parents[each["CONSTRAINT_NAME"]],
            each["REFERENCED_COLUMN_NAME"],
        )
        for each in columns
        if each["CONSTRAINT_NAME"] in parents
    )


def _joined(rows: Iterable[tuple[str, str, str, str, str]]) -> list[ForeignKey]:
    found: dict[tuple[str, str], ForeignKey] = {}
    for table, name, column, parent, other in rows:
        known = found.get((table, name), ForeignKey(name, table, (), parent, ()))
        columns, parent_columns = (*known.columns, column), (*known.parent_columns, other)
        found[table, name] = ForeignKey(name, table, columns, parent, parent_columns)
    return list(found.values())


def find_orphans(session: Session, tables: Collection[str]) -> list[Orphans]:
    """What refers to nothing in these tables' rows, and in other tables' rows that refer to these."""
    concerned = [key for key in foreign_keys(session) if key.table in tables or key.parent in tables]
    found = (_orphans(session, key) for key in concerned)
    return [orphans for orphans in found if orphans is not None]


def _orphans(session: Session, key: ForeignKey) -> Orphans | None:
    pairs = list(zip(key.columns, key.parent_columns, strict=True))
    joined = " AND ".join(f"p.{quote_name(other)} = c.{quote_name(column)}" for column, other in pairs)
    meant = " AND ".join(f"c.{quote_name(column)} IS NOT NULL" for column in key.columns)
    source = (  # every name is quoted
        f"FROM {quote_name(key.table)} c WHERE {meant} AND NOT EXISTS "  # noqa: S608
        f"(SELECT 1 FROM {quote_name(key.parent)} p WHERE {joined})"
    )
    count = int(session.value(f"SELECT COUNT(*) {source}") or 0)
    if not count:
        return None
    names = list(dict.fromkeys((*_primary(session, key.table), *key.columns)))
    columns = ", ".join(f"c.{quote_name(name)}" for name in names)
    rows = session.texts(f"SELECT {columns} {source} LIMIT {_SHOWN}")
    return Orphans(key, count, tuple(_shown(names, row) for row in rows))


def _primary(session: Session, table: str) -> list[str]:
    rows = session.texts(f"SHOW KEYS FROM {quote_name(table)} WHERE Key_name = 'PRIMARY'")
    return [row[4] or "" for row in rows]


def _shown(names: Iterable[str], row: Iterable[str | None]) -> str:
    values = (f"{name} {(value or 'NULL')[:_LONGEST]}" for name, value in zip(names, row, strict=True))
    return f"({', '.join(values)})"
