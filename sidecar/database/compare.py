"""Whether a database holds what a manifest says: every table's definition, rows and digest, rendered again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sidecar.database.definitions import read_schema
from sidecar.database.dump import newest_migration
from sidecar.database.packets import Digest
from sidecar.database.rows import read_rows
from sidecar.database.server import version_number
from sidecar.database.snapshot import Snapshot
from sidecar.database.tables import Table, read_tables
from sidecar.manifest import Database
from sidecar.manifest import Table as Wanted


@dataclass(frozen=True)
class Difference:
    """One thing that isn't as it was: where, what of it, and both values."""

    where: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} was {self.expected}, is {self.found}"


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
) -> list[Difference]:
    """Every difference between the snapshot and the manifest; none means equal, row for row.

    `tell` hears of each table once it is read. Definitions are compared only on a server of the flavour and version
    they were read on: another one may describe the same table in other words.
    """
    with snapshot.borrow() as session:
        schema = read_schema(session)
        versions = {version_number(session.server_version), version_number(expected.server_version)}
        same_server = session.flavour == expected.flavour and len(versions) == 1
        migration = newest_migration(session)
    found = {table.name: table for table in schema.tables}
    wanted = {table.name: table for table in expected.tables}
    differences = list(_names("table", set(wanted), set(found)))
    if migration != expected.newest_migration:
        differences.append(Difference("database", "newest migration", str(expected.newest_migration), str(migration)))
    for name in sorted(set(wanted) & set(found)):
        if same_server:
            differences += _definitions(f"table {name}", wanted[name].definition, found[name].definition)
        again = _digest(snapshot, found[name], advance)
        differences += _rows(name, wanted[name], again)
        equal = again.rows == wanted[name].rows and str(again) == wanted[name].digest
        tell(Compared(name, again.rows, str(again), equal))
    before = {(o.kind, o.name): o.definition for o in expected.objects}
    after = {(o.kind, o.name): o.definition for o in schema.objects}
    differences += _names("", {" ".join(key) for key in before}, {" ".join(key) for key in after})
    if same_server:
        for key in sorted(set(before) & set(after)):
            differences += _definitions(" ".join(key), before[key], after[key])
    return differences


def compare_rows(snapshot: Snapshot, expected: Database, advance: Callable[[int], None]) -> list[Difference]:
    """As `compare`, of which tables there are and what rows they hold alone, not of how they are defined."""
    with snapshot.borrow() as session:
        found = {table.name: table for table in read_tables(session)}
    wanted = {table.name: table for table in expected.tables}
    differences = list(_names("table", set(wanted), set(found)))
    for name in sorted(set(wanted) & set(found)):
        differences += _rows(name, wanted[name], _digest(snapshot, found[name], advance))
    return differences


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
        yield Difference(where, path, repr(before), repr(after))
