"""Whether a database holds what a manifest says: every table's definition, rows and digest, rendered again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.database.created import ObjectReader
from sidecar.database.definitions import Schema, read_schema
from sidecar.database.dump import newest_migration
from sidecar.database.packets import Digest
from sidecar.database.rows import read_rows
from sidecar.database.server import Session, series, version_number
from sidecar.database.snapshot import Snapshot
from sidecar.database.tables import Table, read_tables
from sidecar.errors import Damaged
from sidecar.manifest import Database
from sidecar.manifest import Table as Wanted

_SHOWN = 5


@dataclass(frozen=True)
class Difference:
    """One thing that isn't as it was: where, what of it, and both values.

    `is_lost`: a column, index or key is missing or too many, which no release puts in other words.
    """

    where: str
    what: str
    expected: str
    found: str
    is_lost: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what} was {self.expected}, is {self.found}"

    @property
    def as_doubt(self) -> str:
        """What is told of it where the server is of another release than the one that it was read on."""
        return f"{self}: another release may only put it in other words"


Doubt = Callable[[Difference], None]
"""Hears of a difference that may be in the words alone."""


@dataclass(frozen=True)
class Compared:
    """One table, rendered again: how many rows it has, their digest, and whether both are the manifest's."""

    name: str
    rows: int
    digest: str
    equal: bool


def compare(
    snapshot: Snapshot,
    expected: Database,
    advance: Callable[[int], None] = lambda rows: None,
    tell: Callable[[Compared], None] = lambda compared: None,
    doubt: Doubt = lambda difference: None,
) -> list[Difference]:
    """Every difference between the snapshot and the manifest; none means equal, row for row.

    `tell` hears of each table once it is read. Definitions are compared only on a server of the flavour and series
    they were read on: another one describes the same table in other words. Another release of the series hardly does,
    but may: `doubt` hears of those differences, which are not returned.
    """
    with snapshot.borrow() as session:
        schema = read_schema(session)
        migration = newest_migration(session)
        described = _firm(session, expected, _compare_schema(expected, schema), doubt)
    found = {table.name: table for table in schema.tables}
    wanted = {table.name: table for table in expected.tables}
    differences = list(_names("table", set(wanted), set(found)))
    if migration != expected.newest_migration:
        differences.append(Difference("database", "newest migration", str(expected.newest_migration), str(migration)))
    for name in sorted(set(wanted) & set(found)):
        again = _digest(snapshot, found[name], advance)
        differences += _rows(name, wanted[name], again)
        equal = again.rows == wanted[name].rows and str(again) == wanted[name].digest
        tell(Compared(name, again.rows, str(again), equal))
    before, after = ({f"{o.kind} {o.name}" for o in objects} for objects in (expected.objects, schema.objects))
    return [*differences, *_names("", before, after), *described]


def compare_rows(snapshot: Snapshot, expected: Database, advance: Callable[[int], None]) -> list[Difference]:
    """As `compare`, of which tables there are and what rows they hold alone, not of how they are defined."""
    with snapshot.borrow() as session:
        found = {table.name: table for table in read_tables(session)}
    wanted = {table.name: table for table in expected.tables}
    differences = list(_names("table", set(wanted), set(found)))
    for name in sorted(set(wanted) & set(found)):
        differences += _rows(name, wanted[name], _digest(snapshot, found[name], advance))
    return differences


def compare_placed(
    snapshot: Snapshot,
    expected: Database,
    places: Mapping[str, str],
    advance: Callable[[int], None] = lambda rows: None,
) -> list[Difference]:
    """As `compare_rows`, of some tables alone; `places` tells a table's name in the manifest by the one here."""
    with snapshot.borrow() as session:
        found = {table.name: table for table in read_tables(session)}
    wanted = {table.name: table for table in expected.tables}
    differences = list(_names("table", set(places), set(places) & set(found)))
    for here, name in places.items():
        if here in found:
            differences += _rows(name, wanted[name], _digest(snapshot, found[here], advance))
    return differences


def compare_definitions(session: Session, expected: Database, doubt: Doubt) -> list[Difference]:
    """What of the definitions of the manifest's tables and triggers isn't as it says, whatever else stands there.

    As `compare` does it, also on servers of another release.
    """
    tables = {table.name: table.definition for table in read_tables(session)}
    there = {each.described.name: each.described.definition for each in ObjectReader(session).triggers(tables)}
    differences: list[Difference] = []
    for table in expected.tables:
        differences += _definitions(f"table {table.name}", table.definition, tables.get(table.name))
    for trigger in (each for each in expected.objects if each.kind == "trigger"):
        differences += _definitions(f"trigger {trigger.name}", trigger.definition, there.get(trigger.name))
    return _firm(session, expected, differences, doubt)


def some_of(differences: Sequence[Difference]) -> str:
    """The first few, and how many more there are."""
    shown = "; ".join(str(difference) for difference in differences[:_SHOWN])
    return f"{shown}; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else shown


def refuse_different(differences: Sequence[Difference]) -> None:
    """Raise `Damaged` where what was loaded differs."""
    if differences:
        raise Damaged(f"what was loaded isn't what was backed up: {some_of(differences)}")


def is_of_series(session: Session, expected: Database) -> bool:
    """Whether the server is of the flavour and the series of releases that the backup was read on."""
    return session.flavour == expected.flavour and series(session.server_version) == series(expected.server_version)


def _compare_schema(expected: Database, schema: Schema) -> Iterator[Difference]:
    """How what is there on both sides is defined."""
    before = {f"table {table.name}": table.definition for table in expected.tables}
    after = {f"table {table.name}": table.definition for table in schema.tables}
    before |= {f"{each.kind} {each.name}": each.definition for each in expected.objects}
    after |= {f"{each.kind} {each.name}": each.definition for each in schema.objects}
    for where in sorted(before.keys() & after.keys()):
        yield from _definitions(where, before[where], after[where])


def _firm(session: Session, expected: Database, found: Iterable[Difference], doubt: Doubt) -> list[Difference]:
    """Differences of definitions that the release of the server can't be the reason for; `doubt` hears of the others.

    What a server of another series or flavour says differs anyhow.
    """
    if not is_of_series(session, expected):
        return []
    if version_number(session.server_version) == version_number(expected.server_version):
        return list(found)
    for difference in found:
        doubt(difference)
    return []


def _names(kind: str, wanted: set[str], found: set[str]) -> Iterator[Difference]:
    for name in sorted(wanted - found):
        yield Difference(f"{kind} {name}".strip(), "existence", "there", "missing")
    for name in sorted(found - wanted):
        yield Difference(f"{kind} {name}".strip(), "existence", "absent", "there")


def _digest(snapshot: Snapshot, table: Table, advance: Callable[[int], None]) -> Digest:
    again = Digest(table)
    for packet in read_rows(snapshot, table):
        again.add(packet)
        advance(packet.rows)
    return again


def _rows(name: str, wanted: Wanted, again: Digest) -> Iterator[Difference]:
    if again.rows != wanted.rows:
        yield Difference(f"table {name}", "rows", str(wanted.rows), str(again.rows))
    elif str(again) != wanted.digest:
        yield Difference(f"table {name}", "digest", wanted.digest, str(again))


def _definitions(where: str, before: Any, after: Any, path: str = "definition") -> Iterator[Difference]:
    """The places in which two normalised definitions differ, as deep as they go."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(set(before) | set(after)):
            yield from _definitions(where, before.get(key), after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _definitions(where, one, other, f"{path}[{number}]")
    elif before != after:
        yield Difference(where, path, repr(before), repr(after), _is_lost(before, after, path))


def _is_lost(before: Any, after: Any, path: str) -> bool:
    # Lists differ in length here, or one is not there, as of a table without any key; so may all of a trigger.
    if isinstance(before, list | dict) or isinstance(after, list | dict):
        return True
    return path.endswith((".COLUMN_NAME", ".INDEX_NAME", ".CONSTRAINT_NAME"))
