"""Some tables out of a dump: which of its statements are theirs, and the names that they go by until they are whole."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from sidecar.database import inserts, lexer
from sidecar.database.keys import Bare
from sidecar.database.server import quote_name
from sidecar.database.statements import Kind
from sidecar.errors import Refused


class Picked:
    """Takes the statements of some tables and writes other names in; `places` tells a table's by the name it goes by.

    `tables` are all that the dump holds: a trigger may spell its table's name in other letters.
    """

    def __init__(self, places: Mapping[str, str], tables: Collection[str]) -> None:
        self._names = {real: quote_name(own).encode() for own, real in places.items()}
        self._real = {quote_name(own).encode(): quote_name(real).encode() for own, real in places.items()}
        self._tables = tables

    @property
    def renames(self) -> bytes:
        """What puts all of them in place, in one statement."""
        pairs = (own + b" TO " + real for own, real in self._real.items())
        return b"RENAME TABLE " + b", ".join(pairs)

    def passes_over(self, statement: bytes) -> bool:
        """Whether a statement is an INSERT into another table: told by its head alone, as most of a dump is."""
        head = inserts.HEAD.match(statement)
        return head is not None and _plain(head["table"]) not in self._names

    def keeps(self, kind: Kind, statement: bytes) -> bool:
        """Whether a statement belongs to one of the tables, or sets up the session for those that do."""
        if kind is Kind.CREATE_TRIGGER:
            return trigger_table(statement, self._tables) in self._names
        if kind is Kind.CREATE_TABLE:
            return _created(statement) in self._names
        return kind in (Kind.SET, Kind.INSERT, Kind.REPLACE)

    def insert(self, statement: bytes) -> bytes:
        """An INSERT into the table under the name that it goes by for now. Raises `Refused` for a head not of ours."""
        head = inserts.HEAD.match(statement)
        if head is None:
            raise lexer.refused(statement, "it isn't written as our own dumps are")
        start, end = head.span("table")
        return b"".join((statement[:start], self._names[_plain(head["table"])], memoryview(statement)[end:]))

    def create(self, statement: bytes, table: Bare | None) -> Bare:
        """The table without its late parts, under the name that it goes by for now."""
        if table is None:
            raise Refused(
                f"table {_created(statement)} is of a make that can't be restored by itself",
                mend="Restore the backup into another database, and copy the table from there.",
            )
        own = self._names[_plain(table.name)]
        return replace(table, name=own, create=table.create.replace(table.name, own, 1))

    def real(self, own: bytes) -> bytes:
        """The quoted name of a table that is in place by now."""
        return self._real[own]


def trigger_table(statement: bytes, tables: Collection[str]) -> str | None:
    """The table of a CREATE TRIGGER, as it is called among `tables`; None where it is none of them."""
    words = lexer.readings(statement)[-1]
    upper = [word.upper() for word in words]
    try:
        after = upper.index(b"ON", upper.index(b"TRIGGER") + 2)
        plain = _plain(words[after + 3] if words[after + 2] == b"." else words[after + 1])
    except (ValueError, IndexError):
        return None
    if plain in tables:
        return plain
    return next((table for table in tables if table.casefold() == plain.casefold()), None)


def _created(statement: bytes) -> str:
    """The table of a CREATE TABLE."""
    words = lexer.readings(statement)[-1]
    return _plain(words[words.index(b"(") - 1])


def _plain(name: bytes) -> str:
    if name.startswith(b"`"):
        name = name[1:-1].replace(b"``", b"`")
    return name.decode("utf-8", "backslashreplace")
