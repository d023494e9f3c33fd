"""How the server writes each column's values as SQL: lossless by type and charset, so that a digest may trust it."""

from binascii import hexlify

from sidecar.database.server import quote_name
from sidecar.database.tables import INTEGERS, Column, Table
from sidecar.errors import KimaiBackupError

END_OF_ROW = b")\0"
"""Ends each row on the way here: QUOTE writes a NUL as `\\0`, so no value can hold it, and a cut row lacks it."""
ROW_SEPARATOR = b",\n("

_UNICODE = {"utf8mb4", "utf8mb3", "utf8", "ascii"}
_QUOTED = {"date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6", "json"}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector", "geometry", "point"}
_BYTES |= {"linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"}
_BYTES |= {"geomcollection"}
# A derived or temporary table gives CONCAT's result the width that the types announce, which is too narrow for
# extreme doubles and decimals: an end marker announced as wide makes every row a long text instead.
_END = f"CAST('{END_OF_ROW.decode()}' AS CHAR(1000))".replace("\0", "\\0")


def row_expression(table: Table) -> str:
    """The SQL expression of a row without its opening bracket, ending in `END_OF_ROW`; NULL if one can't be built."""
    values = [value_expression(column) for column in table.stored]
    if not values:
        return _END
    # CONCAT, not CONCAT_WS: a value that can't be built must take its row along, so that the count tells.
    return "CONCAT(" + ", ',', ".join(values) + f", {_END})"


def value_expression(column: Column) -> str:
    """The SQL expression that gives one column's value as SQL text, `NULL` included."""
    name = quote_name(column.name)
    kind = column.data_type
    if kind in INTEGERS or kind in ("decimal", "year"):
        return f"IFNULL({name}, 'NULL')" if column.nullable else name
    if kind in ("float", "double"):
        return _floating(column, name)
    if kind == "bit":
        return _unless_null(column, name, f"CONCAT('b''', BIN({name} + 0), '''')")
    if is_bytes(column):
        return _unless_null(column, name, f"CONCAT('{_prefix(column)}X''', HEX({name}), '''')")
    if kind == "enum":  # '' may be a member, and is also how an invalid value, index 0, reads
        return f"IF({name} + 0 = 0, '0', {_quoted_text(name)})"
    if kind in _TEXTS:
        return _quoted_text(name)
    if kind in _QUOTED or column.charset:
        return f"QUOTE({name})"
    raise KimaiBackupError(
        f"column {column.name} has the type {column.column_type}, which this version can't write as SQL",
        mend="Please report it: no backup is better than one that loses values.",
    )


def is_bytes(column: Column) -> bool:
    """Whether the value is written as stored bytes in hexadecimal."""
    return column.data_type in _BYTES or (column.charset is not None and column.charset not in _UNICODE)


def is_long(column: Column) -> bool:
    """Whether a value may be large: such a column is fetched raw where the server can't render a row so large."""
    return column.data_type in _BYTES | {"json"} or (
        column.data_type in _TEXTS and column.data_type not in ("enum", "set")
    )


def raw_value(column: Column) -> str:
    """The SQL expression that gives a long column's value as it is stored, unconverted."""
    # A JSON value of MySQL is no text until it is cast.
    return f"CAST({quote_name(column.name)} AS CHAR)" if column.data_type == "json" else quote_name(column.name)


def quote_value(column: Column, value: bytes | None) -> bytes:
    """One raw value of a long column as the same SQL text that the server renders."""
    if value is None:
        return b"NULL"
    if is_bytes(column):
        return b"%sX'%s'" % (_prefix(column).encode(), hexlify(value).upper())
    return b"'%s'" % escape(value)


def escape(value: bytes) -> bytes:
    """The inside of a string literal, escaped exactly as QUOTE does."""
    return value.replace(b"\\", b"\\\\").replace(b"\0", b"\\0").replace(b"'", b"\\'").replace(b"\x1a", b"\\Z")


def insert_head(table: Table) -> bytes:
    """The beginning of an INSERT up to and with the first row's opening bracket."""
    names = ", ".join(quote_name(column.name) for column in table.stored)
    return f"INSERT INTO {quote_name(table.name)} ({names}) VALUES\n(".encode()


def _quoted_text(name: str) -> str:
    # As the stored bytes, which in these charsets are UTF-8: else QUOTE decodes and encodes every character, and what
    # is made of it is checked for being well-formed again and again, a sixth of all that a dump costs the server.
    return f"QUOTE(CONVERT({name} USING binary))"


def _floating(column: Column, name: str) -> str:
    # A FLOAT's own text has six digits; as DOUBLE it is exact. MySQL's CAST of a DOUBLE loses digits: never that.
    exact = f"CAST({name} AS DOUBLE)" if column.data_type == "float" else name
    # -0 would come back as the integer 0: zeros carry an exponent.
    value = f"IF({name} = 0, CONCAT({exact}, 'e0'), {exact})"
    return f"IFNULL({value}, 'NULL')" if column.nullable else value


def _unless_null(column: Column, name: str, value: str) -> str:
    # Not IFNULL: HEX of a value over max_allowed_packet is NULL too, and must not read as the value NULL.
    return f"IF({name} IS NULL, 'NULL', {value})" if column.nullable else value


def _prefix(column: Column) -> str:
    return f"_{column.charset} " if column.charset and column.data_type not in _BYTES else ""
