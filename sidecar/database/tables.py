"""The base tables of a database: columns, keys and constraints, each as normalised rows."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sidecar.database.objects import MARKER
from sidecar.database.server import Session, quote_name

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}

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


def create_table(session: Session, table: Table) -> bytes:
    """The statement that makes the table, as the server prints it."""
    created = session.query(f"SHOW CREATE TABLE {quote_name(table.name)}")[0][1] or b""
    # MariaDB names the database before a sequence in a default, which would tie the dump to that name.
    return created.replace(f"nextval({quote_name(session.database)}.".encode(), b"nextval(")


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
        definition=without_database(definition, session.database),
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


def without_database(value: Any, database: str) -> Any:
    """The same without the database's own name before an object's: a restore may go into another one."""
    if isinstance(value, dict):
        return {key: without_database(inner, database) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_database(inner, database) for inner in value]
    return value.replace(quote_name(database) + ".", "") if isinstance(value, str) else value
