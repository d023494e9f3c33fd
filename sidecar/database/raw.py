"""Rows too large for the server to render: long values fetched as they are stored, and quoted here."""

from collections.abc import Iterator
from contextlib import closing

from sidecar.database.packets import Packet
from sidecar.database.render import escape, is_bytes, is_long, quote_value, raw_value, value_expression
from sidecar.database.server import Row, Session
from sidecar.database.tables import Column, Table
from sidecar.errors import KimaiBackupError

RAW_LIMIT = 1_000_000
"""Bytes from which a binary value is written raw: in hexadecimal it may be too large for the server it came from."""


def read_raw(session: Session, table: Table, source: str) -> Iterator[Packet]:
    """Every row of the source (a table, perhaps with a condition) as a packet of its own; memory: about four rows."""
    expressions = [raw_value(column) if is_long(column) else value_expression(column) for column in table.stored]
    with closing(session.stream(f"SELECT {', '.join(expressions)} FROM {source}")) as stream:  # noqa: S608
        for row in stream:
            yield _packet(table, row)
    no_warnings(session, table)


def no_warnings(session: Session, table: Table) -> None:
    """Raise for any warning of the statement before: a dump is exact, or it isn't made."""
    if session.warning_count:
        said = "; ".join(session.warnings()) or f"{session.warning_count} of them, unread"
        raise KimaiBackupError(f"table {table.name}: the server warns while it reads: {said}")


def _packet(table: Table, row: Row) -> Packet:
    canonical: list[bytes] = []
    written: list[bytes] = []
    for column, value in zip(table.stored, row, strict=True):
        quoted = quote_value(column, value) if is_long(column) else value
        if quoted is None:
            raise KimaiBackupError(f"table {table.name}: the server can't render column {column.name} of a row")
        canonical.append(quoted)
        written.append(_compact(column, value, quoted))
    row_text = b",".join(canonical) + b")"
    differs = any(a is not b for a, b in zip(canonical, written, strict=True))
    return Packet(1, b",".join(written) + b")" if differs else row_text, (row_text,))


def _compact(column: Column, value: bytes | None, quoted: bytes) -> bytes:
    if value is None or not is_long(column) or not is_bytes(column) or column.charset or len(value) < RAW_LIMIT:
        return quoted
    return b"_binary '" + escape(value) + b"'"
