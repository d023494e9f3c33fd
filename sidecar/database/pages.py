"""The rows of a table with an integer key: pages by the key itself, rendered side by side, each proven whole."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock

from sidecar.database.packets import STATEMENT_LIMIT, Packet, portions
from sidecar.database.raw import read_raw
from sidecar.database.render import END_OF_ROW, ROW_SEPARATOR, row_expression
from sidecar.database.server import Session, quote_name
from sidecar.database.snapshot import Snapshot
from sidecar.database.tables import Table
from sidecar.errors import KimaiBackupError

_AIM = 900_000
_FIRST_ROWS = 2_000
_MOST_ROWS = 20_000


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


class Pages:
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
        self._end: int | None = None
        self._dense = False
        # By the server's own estimate, which may be stale: the packets that come correct it.
        average = table.average_row or 1
        self._rows = max(1, min(_FIRST_ROWS, _AIM // (2 * average)))
        self._most_rows = max(1, min(_MOST_ROWS, 8 * _AIM // average))

    def next(self, session: Session) -> tuple[int, _Range] | None:
        """The next page and its number; None where the table has ended."""
        with self._lock:
            if self._ended:
                return None
            page = self._guess() if self._dense else self._look(session)
            last = page.last
            self._after, self._ended = last, last is None
            self._number += 1
            return self._number - 1, page

    def _look(self, session: Session) -> _Range:
        """A page by the key itself: exact, whatever gaps there are."""
        last = self._key_at(session, self._after, None, self._rows)
        if last is not None and self._after is not None and last - self._after <= 2 * self._rows:
            self._dense = True
            self._end = int(session.value(f"SELECT MAX({self.key}) FROM {self.source}") or last)  # noqa: S608
        return _Range(self._after, last, self._rows if last is not None else None)

    def _guess(self) -> _Range:
        """A page by counting on from the last key, without asking: where keys have no gaps that costs less."""
        last = (self._after or 0) + self._rows
        return _Range(self._after, None if self._end is None or last >= self._end else last, None)

    def part(self, session: Session, page: _Range, after: int | None, rows: int) -> _Range:
        """The page's next rows behind a key: as many as asked for, or those that are left."""
        last = self._key_at(session, after, page.last, rows)
        return _Range(after, page.last, None) if last is None else _Range(after, last, rows)

    @property
    def rows(self) -> int:
        """How many rows a page had better have, by what has been seen."""
        return self._rows

    def shrink(self, rows: int, size: int) -> None:
        """Take in a packet that was cut off behind so many whole rows and bytes."""
        with self._lock:
            self._rows = max(1, min(self._rows // 2, _AIM * rows // size if rows else self._rows))

    def learn(self, page: _Range, rows: int, size: int) -> None:
        """Take a packet in: the pages to come aim at statements just under their limit, and heed gaps."""
        with self._lock:
            if page.last is not None and page.after is not None and page.last - page.after > 2 * rows:
                self._dense = False
            if rows:
                self._rows = max(1, min(self._most_rows, self._rows * 4, _AIM * rows // size))

    def _key_at(self, session: Session, after: int | None, last: int | None, rows: int) -> int | None:
        condition = _Range(after, last, None).condition(self.key)
        found = session.value(
            f"SELECT {self.key} FROM {self.source} WHERE {condition} ORDER BY {self.key} LIMIT {rows - 1}, 1"  # noqa: S608
        )
        return None if found is None else int(found)


def read_pages(snapshot: Snapshot, table: Table) -> Iterator[Packet]:
    """All rows of a table with an integer key, in the key's order, over all sessions of the snapshot."""
    pages = Pages(table)
    ahead = 2 * len(snapshot.sessions)
    waiting: deque[Future[_Page | None]] = deque()
    arrived: dict[int, _Page] = {}
    expected = 0
    ended = False
    try:
        while not ended or waiting or arrived:
            while not ended and len(waiting) + len(arrived) < ahead:
                waiting.append(snapshot.executor.submit(_fetch, snapshot, pages))
            if expected in arrived:
                page = arrived.pop(expected)
                expected += 1
                yield from _divided(snapshot, pages, page.range) if page.packets is None else page.packets
            elif (found := waiting.popleft().result()) is None:
                ended = True
            else:
                arrived[found.number] = found
    finally:
        for future in waiting:
            future.cancel()


@dataclass(frozen=True, slots=True)
class _Page:
    """A page that was asked for; `packets` is None where it didn't come whole."""

    number: int
    range: _Range
    packets: list[Packet] | None


def _fetch(snapshot: Snapshot, pages: Pages) -> _Page | None:
    with snapshot.borrow() as session:
        numbered = pages.next(session)
        if numbered is None:
            return None
        number, keys = numbered
        return _Page(number, keys, _whole(session, pages, keys))


def _whole(session: Session, pages: Pages, keys: _Range) -> list[Packet] | None:
    """The rows of a range of keys, None where they aren't whole: a cut, a value that can't be built, a warning."""
    condition = keys.condition(pages.key)
    counted, data = session.query(
        f"SELECT COUNT(*), {pages.rendered} FROM {pages.source} WHERE {condition}"  # noqa: S608 - quoted names
    )[0]
    rows = int(counted or 0)
    if keys.rows is not None and rows != keys.rows:
        raise KimaiBackupError(f"table {pages.table.name}: the server counts {rows}, then {keys.rows} rows in one page")
    if rows == 0:
        pages.learn(keys, 0, 0)
        return []
    sql = (data or b"").replace(b"\0", b"")
    whole = len(data or b"") - len(sql)  # each row ends in one NUL, and holds no other
    if session.warning_count or data is None or not data.endswith(END_OF_ROW) or whole != rows:
        pages.shrink(whole, len(sql))
        return None
    pages.learn(keys, rows, len(sql))
    if len(sql) < STATEMENT_LIMIT or rows == 1:
        return [Packet(rows, sql)]
    return list(portions(data.removesuffix(b"\0").split(b"\0" + ROW_SEPARATOR), ordered=True))


def _divided(snapshot: Snapshot, pages: Pages, page: _Range) -> Iterator[Packet]:
    """A page that didn't come whole, in smaller parts, down to single rows fetched value by value; one at a time."""
    with snapshot.borrow() as session:
        after, rows = page.after, pages.rows
        ended = False
        while not ended:
            part = pages.part(session, page, after, rows)
            packets = _whole(session, pages, part)
            if packets is None and rows > 1:
                rows = max(1, min(rows // 2, pages.rows))
                continue
            if packets is None:
                yield from read_raw(session, pages.table, f"{pages.source} WHERE {part.condition(pages.key)}")
            else:
                yield from packets
            after, rows = part.last, pages.rows
            ended = part.rows is None or after == page.last
