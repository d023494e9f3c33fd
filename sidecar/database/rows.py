"""A table's rows as packets of SQL text, each proven whole, in the key's order, and a digest over them."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from threading import Lock

from sidecar.database.definitions import Column, Table
from sidecar.database.render import (
    END_OF_ROW,
    ROW_SEPARATOR,
    escape,
    is_bytes,
    is_long,
    quote_value,
    raw_value,
    row_expression,
    value_expression,
)
from sidecar.database.server import PACKET_LIMIT, Row, Session, quote_name
from sidecar.database.snapshot import Snapshot
from sidecar.errors import KimaiBackupError

STATEMENT_LIMIT = 1_000_000
"""Bytes that an INSERT stays under unless one row is larger."""
RAW_LIMIT = 1_000_000
"""Bytes from which a binary value is written raw: in hexadecimal it may be too large for the server it came from."""

_AIM = 900_000
_FIRST_ROWS = 2_000
_MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Packet:
    """Rows as the server rendered them: each without its opening bracket and ending in `END_OF_ROW`.

    `data` is what the digest is over; `written`, where it is set, is what a dump holds instead.
    """

    rows: int
    data: bytes
    written: bytes | None = None

    @property
    def sql(self) -> bytes:
        """The rows as they follow an INSERT's head."""
        return self.data.replace(b"\0", b"") if self.written is None else self.written


class Digest:
    """A digest over a table's rows that depends neither on how packets are cut nor on when they arrive.

    With an integer key: SHA-256 over all rows in the key's order. Without one: the sum of each row's SHA-256,
    which, unlike XOR, tells two equal rows from none. What is hashed is the rendered row, lossless by `render`.
    """

    def __init__(self, table: Table) -> None:
        self._ordered = hashlib.sha256() if table.key else None
        self._sum = 0
        self.rows = 0

    def add(self, packet: Packet) -> None:
        """Take in the next packet."""
        if self._ordered is None:
            for row in packet.data.removesuffix(END_OF_ROW).split(END_OF_ROW + ROW_SEPARATOR):
                self._sum += int.from_bytes(hashlib.sha256(row).digest(), "big")
        else:
            if self.rows:
                self._ordered.update(ROW_SEPARATOR)
            self._ordered.update(packet.data)
        self.rows += packet.rows

    def __str__(self) -> str:
        if self._ordered is not None:
            return f"sha256-ordered:{self._ordered.hexdigest()}"
        return f"sha256-sum:{self._sum % 2**256:064x}"


def read_rows(snapshot: Snapshot, table: Table) -> Iterator[Packet]:
    """All rows of the table, packet by packet, each proven whole; in the key's order where there is an integer key.

    Raises `KimaiBackupError` where the server delivers fewer rows than it counts, `DefinitionChanged` where the
    table was altered under the snapshot.
    """
    if table.key is None:
        yield from _streamed(snapshot, table)
    else:
        yield from _paged(snapshot, table)


# ── Tables with an integer key: pages by the key itself ──────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Range:
    """Rows with `after < key <= last`; an end that is None is open. `rows` is None for the last page."""

    after: int | None
    last: int | None
    rows: int | None

    def condition(self, key: str) -> str:
        ends = []
        if self.after is not None:
            ends.append(f"{key} > {self.after}")
        if self.last is not None:
            ends.append(f"{key} <= {self.last}")
        return " AND ".join(ends) or "TRUE"


class _Pages:
    """Cuts a table into pages one after the other, as large as the packets before it allow."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.key = quote_name(table.key or "")
        self.source = f"{quote_name(table.name)} FORCE INDEX (PRIMARY)"
        self.rendered = f"GROUP_CONCAT({row_expression(table)} SEPARATOR '{ROW_SEPARATOR.decode()}')"
        self._lock = Lock()
        self._after: int | None = None
        self._number = 0
        self._ended = False
        self._rows = _FIRST_ROWS
        if table.average_row:
            self._rows = max(1, min(_FIRST_ROWS, _AIM // (2 * table.average_row)))

    def next(self, session: Session) -> tuple[int, _Range] | None:
        """The next page and its number; None where the table has ended."""
        with self._lock:
            if self._ended:
                return None
            last = self._key_at(session, self._after, None, self._rows)
            page = _Range(self._after, last, self._rows if last is not None else None)
            self._after, self._ended = last, last is None
            self._number += 1
            return self._number - 1, page

    def halve(self, session: Session, page: _Range) -> list[_Range]:
        """The page as two; none where it has one row and can't be cut."""
        rows = page.rows
        if rows is None:
            condition = page.condition(self.key)
            rows = int(session.value(f"SELECT COUNT(*) FROM {self.source} WHERE {condition}") or 0)  # noqa: S608
        with self._lock:
            self._rows = max(1, min(self._rows, rows // 2))
        if rows < 2:
            return []
        half = rows // 2
        middle = self._key_at(session, page.after, page.last, half)
        return [_Range(page.after, middle, half), _Range(middle, page.last, rows - half)]

    def learn(self, rows: int, size: int) -> None:
        """Take a packet's size in: the pages to come aim at statements just under their limit."""
        with self._lock:
            self._rows = max(1, min(_MOST_ROWS, self._rows * 4, _AIM * rows // max(size, 1)))

    def _key_at(self, session: Session, after: int | None, last: int | None, rows: int) -> int | None:
        condition = _Range(after, last, None).condition(self.key)
        found = session.value(
            f"SELECT {self.key} FROM {self.source} WHERE {condition} ORDER BY {self.key} LIMIT {rows - 1}, 1"  # noqa: S608
        )
        return None if found is None else int(found)


def _paged(snapshot: Snapshot, table: Table) -> Iterator[Packet]:
    pages = _Pages(table)
    ahead = 2 * len(snapshot.sessions)
    waiting: list[Future[tuple[int, _Range, Packet | None] | None]] = []
    arrived: dict[int, tuple[_Range, Packet | None]] = {}
    expected = 0
    ended = False
    try:
        while not ended or waiting or arrived:
            while not ended and len(waiting) + len(arrived) < ahead:
                waiting.append(snapshot.executor.submit(_fetch, snapshot, pages))
            if expected not in arrived:
                result = waiting.pop(0).result()
                if result is None:
                    ended = True
                else:
                    arrived[result[0]] = result[1:]
                continue
            page, packet = arrived.pop(expected)
            expected += 1
            for whole in (packet,) if packet is not None else _divided(snapshot, pages, page):
                if whole.rows:
                    yield from _portions(whole)
    finally:
        for future in waiting:
            future.cancel()


def _fetch(snapshot: Snapshot, pages: _Pages) -> tuple[int, _Range, Packet | None] | None:
    with snapshot.borrow() as session:
        numbered = pages.next(session)
        if numbered is None:
            return None
        number, page = numbered
        return number, page, _whole(session, pages, page)


def _whole(session: Session, pages: _Pages, page: _Range) -> Packet | None:
    """The page's packet, None where it isn't whole: a cut, a value that can't be built, a warning."""
    condition = page.condition(pages.key)
    counted, data = session.query(
        f"SELECT COUNT(*), {pages.rendered} FROM {pages.source} WHERE {condition}"  # noqa: S608 - quoted names
    )[0]
    rows = int(counted or 0)
    if page.rows is not None and rows != page.rows:
        raise KimaiBackupError(
            f"table {pages.table.name}: the server counts {rows} rows, then {page.rows}, in one page"
        )
    if rows == 0:
        return Packet(0, b"")
    if session.warning_count or data is None or not data.endswith(END_OF_ROW) or data.count(b"\0") != rows:
        return None
    pages.learn(rows, len(data))
    return Packet(rows, data)


def _divided(snapshot: Snapshot, pages: _Pages, page: _Range) -> Iterator[Packet]:
    """A page that didn't come whole, in halves, down to single rows fetched value by value; one at a time in memory."""
    with snapshot.borrow() as session:
        todo = [page]
        while todo:
            part = todo.pop()
            packet = None if part is page else _whole(session, pages, part)
            if packet is not None:
                yield packet
                continue
            halves = pages.halve(session, part)
            if halves:
                todo += reversed(halves)
            else:
                condition = part.condition(pages.key)
                yield from _raw(session, pages.table, f"{pages.source} WHERE {condition}")


def _portions(packet: Packet) -> Iterator[Packet]:
    """The packet as such portions that an INSERT of each stays under its limit where rows allow it."""
    if len(packet.data) < STATEMENT_LIMIT or packet.rows == 1:
        yield packet
        return
    rows = packet.data.removesuffix(END_OF_ROW).split(END_OF_ROW + ROW_SEPARATOR)
    portion: list[bytes] = []
    size = 0
    for row in rows:
        if portion and size + len(row) >= STATEMENT_LIMIT - 10_000:
            yield _joined(portion)
            portion, size = [], 0
        portion.append(row)
        size += len(row) + len(END_OF_ROW + ROW_SEPARATOR)
    yield _joined(portion)


def _joined(rows: list[bytes]) -> Packet:
    return Packet(len(rows), (END_OF_ROW + ROW_SEPARATOR).join(rows) + END_OF_ROW)


# ── Tables without one: a plain stream ───────────────────────────────────────────────────────────────────────


def _streamed(snapshot: Snapshot, table: Table) -> Iterator[Packet]:
    with snapshot.borrow() as session:
        source = quote_name(table.name)
        lengths = [f"IFNULL(LENGTH({quote_name(c.name)}), 0)" for c in table.stored if is_long(c)]
        counted, longest = session.texts(f"SELECT COUNT(*), MAX({' + '.join(lengths) or '0'}) FROM {source}")[0]  # noqa: S608
        # A quoted or hexadecimal value has at most twice its bytes.
        if 2 * int(longest or 0) > min(PACKET_LIMIT, session.packet_limit) // 2:
            packets = _raw(session, table, source)
        else:
            packets = _batches(session, f"SELECT {row_expression(table)} FROM {source}", table)  # noqa: S608
        rows = 0
        for packet in packets:
            rows += packet.rows
            yield packet
        if rows != int(counted or 0):
            raise KimaiBackupError(f"table {table.name}: the server counts {counted} rows and delivers {rows}")


def _batches(session: Session, sql: str, table: Table) -> Iterator[Packet]:
    portion: list[bytes] = []
    size = 0
    with closing(session.stream(sql)) as stream:
        for (row,) in stream:
            if row is None or not row.endswith(END_OF_ROW):
                raise KimaiBackupError(f"table {table.name}: the server can't render a row")
            if portion and size + len(row) >= STATEMENT_LIMIT - 10_000:
                yield _joined(portion)
                portion, size = [], 0
            portion.append(row.removesuffix(END_OF_ROW))
            size += len(row) + len(ROW_SEPARATOR)
    _no_warnings(session, table)
    if portion:
        yield _joined(portion)


# ── Rows too large for the server to render: long values as they are stored, quoted here ─────────────────────


def _raw(session: Session, table: Table, source: str) -> Iterator[Packet]:
    expressions = [raw_value(column) if is_long(column) else value_expression(column) for column in table.stored]
    with closing(session.stream(f"SELECT {', '.join(expressions)} FROM {source}")) as stream:  # noqa: S608
        for row in stream:
            yield _raw_packet(table, row)
    _no_warnings(session, table)


def _raw_packet(table: Table, row: Row) -> Packet:
    canonical: list[bytes] = []
    written: list[bytes] = []
    for column, value in zip(table.stored, row, strict=True):
        quoted = quote_value(column, value) if is_long(column) else value
        if quoted is None:
            raise KimaiBackupError(f"table {table.name}: the server can't render column {column.name} of a row")
        canonical.append(quoted)
        written.append(_compact(column, value, quoted))
    data = b",".join(canonical) + END_OF_ROW
    differs = any(a is not b for a, b in zip(canonical, written, strict=True))
    return Packet(1, data, b",".join(written) + b")" if differs else None)


def _compact(column: Column, value: bytes | None, quoted: bytes) -> bytes:
    if value is None or not is_long(column) or not is_bytes(column) or column.charset or len(value) < RAW_LIMIT:
        return quoted
    return b"_binary '" + escape(value) + b"'"


def _no_warnings(session: Session, table: Table) -> None:
    if session.warning_count:
        said = "; ".join(session.warnings()) or f"{session.warning_count} of them, unread"
        raise KimaiBackupError(f"table {table.name}: the server warns while it reads: {said}")
