"""Packets of rows as SQL text, and a digest over them that knows nothing of packets."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sidecar.database.render import ROW_SEPARATOR
from sidecar.database.tables import Table

STATEMENT_LIMIT = 1_000_000
"""Bytes that an INSERT stays under unless one row is larger."""
_HEAD_ROOM = 10_000
"""Bytes kept for an INSERT's head, which names every column."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Rows as SQL text, ready to follow an INSERT's head: each without its opening bracket, joined by `ROW_SEPARATOR`.

    `canonical` are the rows one by one as the digest is over them, where they differ from `sql` or have no order.
    """

    rows: int
    sql: bytes
    canonical: tuple[bytes, ...] | None = None


class Digest:
    """A digest over a table's rows that depends neither on how packets are cut nor on when they arrive.

    With an integer key: SHA-256 over all rows in the key's order. Without such an order: the sum of each row's SHA-256,
    which, unlike XOR, tells two equal rows from none. What is hashed is the rendered row, lossless by `render`.
    """

    def __init__(self, table: Table) -> None:
        self._ordered = hashlib.sha256() if table.key else None
        self._sum = 0
        self.rows = 0

    def add(self, packet: Packet) -> None:
        """Take in the next packet."""
        if self._ordered is None:
            for row in packet.canonical or ():
                self._sum += int.from_bytes(hashlib.sha256(row).digest(), "big")
        else:
            if self.rows:
                self._ordered.update(ROW_SEPARATOR)
            self._ordered.update(packet.sql if packet.canonical is None else ROW_SEPARATOR.join(packet.canonical))
        self.rows += packet.rows

    def __str__(self) -> str:
        if self._ordered is not None:
            return f"sha256-ordered:{self._ordered.hexdigest()}"
        return f"sha256-sum:{self._sum % 2**256:064x}"


def portions(rows: Iterable[bytes], *, ordered: bool) -> Iterator[Packet]:
    """Single rows as packets of such sizes that an INSERT of each stays under its limit where rows allow it."""
    portion: list[bytes] = []
    size = 0
    for row in rows:
        if portion and size + len(row) >= STATEMENT_LIMIT - _HEAD_ROOM:
            yield _joined(portion, ordered=ordered)
            portion, size = [], 0
        portion.append(row)
        size += len(row) + len(ROW_SEPARATOR)
    if portion:
        yield _joined(portion, ordered=ordered)


def _joined(rows: list[bytes], *, ordered: bool) -> Packet:
    return Packet(len(rows), ROW_SEPARATOR.join(rows), None if ordered else tuple(rows))
