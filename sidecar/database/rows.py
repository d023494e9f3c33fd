"""All rows of a table as packets of SQL text, each proven whole."""

from collections.abc import Iterator
from contextlib import closing

from sidecar.database.packets import Packet, portions
from sidecar.database.pages import read_pages
from sidecar.database.raw import no_warnings, read_raw
from sidecar.database.render import END_OF_ROW, is_long, row_expression
from sidecar.database.server import Session, quote_name
from sidecar.database.settings import PACKET_LIMIT
from sidecar.database.snapshot import Snapshot
from sidecar.database.tables import Table
from sidecar.errors import KimaiBackupError


def read_rows(snapshot: Snapshot, table: Table) -> Iterator[Packet]:
    """All rows of the table, packet by packet, each proven whole; in the key's order where there is an integer key.

    Raises `KimaiBackupError` where the server delivers fewer rows than it counts, `DefinitionChanged` where the
    table was altered under the snapshot.
    """
    if table.key is None:
        yield from _streamed(snapshot, table)
    else:
        yield from read_pages(snapshot, table)


def _streamed(snapshot: Snapshot, table: Table) -> Iterator[Packet]:
    """A table without such a key, over one session: in one packet where it is small, else row by row."""
    with snapshot.borrow() as session:
        source = quote_name(table.name)
        lengths = [f"IFNULL(LENGTH({quote_name(c.name)}), 0)" for c in table.stored if is_long(c)]
        counted, longest = session.texts(f"SELECT COUNT(*), MAX({' + '.join(lengths) or '0'}) FROM {source}")[0]  # noqa: S608
        # A quoted or hexadecimal value has at most twice its bytes.
        if 2 * int(longest or 0) > min(PACKET_LIMIT, session.packet_limit) // 2:
            packets = read_raw(session, table, source)
        else:
            found = _at_once(session, table, int(counted or 0))
            packets = portions(_rendered(session, table) if found is None else found, ordered=False)
        rows = 0
        for packet in packets:
            rows += packet.rows
            yield packet
        # What no snapshot covers may have changed since it was counted.
        if rows != int(counted or 0) and table.engine == "InnoDB":
            raise KimaiBackupError(f"table {table.name}: the server counts {counted} rows and delivers {rows}")


def _at_once(session: Session, table: Table, counted: int) -> list[bytes] | None:
    """The rows of a table that is likely to fit into one packet, which costs far less than row by row; None if not."""
    if table.average_row * counted > PACKET_LIMIT:
        return None
    rendered = f"GROUP_CONCAT({row_expression(table)} SEPARATOR '')"
    [(data,)] = session.query(f"SELECT {rendered} FROM {quote_name(table.name)}")  # noqa: S608 - quoted names
    rows = (data or b"").split(b"\0")[:-1]
    whole = (data or b"").endswith(END_OF_ROW) and len(rows) == counted and not session.warning_count
    return rows if whole else None


def _rendered(session: Session, table: Table) -> Iterator[bytes]:
    sql = f"SELECT {row_expression(table)} FROM {quote_name(table.name)}"  # noqa: S608 - quoted names
    with closing(session.stream(sql)) as stream:
        for (row,) in stream:
            if row is None or not row.endswith(END_OF_ROW):
                raise KimaiBackupError(f"table {table.name}: the server can't render a row")
            yield row[:-1]
    no_warnings(session, table)
