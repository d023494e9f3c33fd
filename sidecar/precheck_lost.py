"""What must be right before some tables or files are brought back: above all that nothing is in their place."""

from collections.abc import Collection, Iterable
from contextlib import closing
from typing import Literal

from sidecar.archive.source import Source
from sidecar.brief import some
from sidecar.database.dump import MIGRATIONS, newest_migration
from sidecar.database.objects import MARKER, contents, marked
from sidecar.database.orphans import ForeignKey, foreign_keys, foreign_keys_of
from sidecar.database.server import Session, quote_name
from sidecar.errors import Refused
from sidecar.gate import check_version
from sidecar.gate_plugins import check_lost_plugins, check_plugins
from sidecar.kimai.code import PLUGINS
from sidecar.kimai.installed import is_kimais
from sidecar.manifest import Database, File
from sidecar.precheck import Checked, check_rights, check_server, check_url
from sidecar.restore_job import Job
from sidecar.wish import Allowed

_SHOWN = 5
_NAME_LIMIT = 60
"""Letters of a table's name that leave room for an ending."""


def check_gate(
    job: Job, source: Source, tables: Database | None, files: Iterable[File], allowed: Allowed, checked: Checked
) -> None:
    """Raise `Refused` unless the backup is of the installed Kimai's version, and its tables of the same migration.

    Plugins are compared where a table may be a plugin's.
    """
    only: Literal["database", "files"] = "files" if tables is None else "database"
    passed = check_version(job.kimai, source, allowed, only=only)
    folders = {file.path.removeprefix(f"{PLUGINS}/").split("/")[0] for file in files if file.path.startswith(PLUGINS)}
    passes = [passed, check_lost_plugins(source, folders, running=passed.running)]
    if tables is not None and any(not is_kimais(name) for name in _names(tables)):
        passes.append(check_plugins(job.kimai, source, allowed, only="database", running=passed.running))
    for each in passes:
        checked.found += each.found
        checked.warnings += each.warnings
    job.kimai.check_cache()


def check_tables(
    job: Job, database: Database, tables: Database, taken_back: Collection[str], mark: str | None, checked: Checked
) -> None:
    """Raise `Refused` at the first thing that would keep the tables from coming back whole.

    `database` is all that the backup holds, `taken_back` names tables that a killed restore brought, and `mark` is that
    one's number; both go before.
    """
    check_url(job, checked)
    with closing(job.connect()) as session:
        if marked(session) not in (None, mark):
            raise Refused(
                f"another restore into {session.database} is under way, or was killed",
                mend=f"Run that again where it was begun; if there is none, drop the table {MARKER}.",
            )
        there = {name: kind for kind, name in contents(session) if name not in taken_back}
        check_rights(session, tables)
        check_server(session, tables, checked)
        _check_places(session, tables, there)
        _check_level(session, tables)
        _check_keys(session, database, tables, there, checked)
    if "triggers" in database.unseen:
        checked.warnings.append("the backup could not see triggers: if these tables had any, they don't come back")
    checked.found.append(f"{some(_names(tables), _SHOWN)} can be brought into {job.redacted_url}: nothing is there yet")


def _names(database: Database) -> list[str]:
    return [table.name for table in database.tables]


def _check_places(session: Session, tables: Database, there: dict[str, str]) -> None:
    """Nothing is dropped unasked: not even a table without rows, which may be in use at this moment."""
    taken = [name for name in _names(tables) if name in there]
    if not taken:
        return
    name, quoted, others = taken[0], quote_name(taken[0]), some(taken[1:], _SHOWN)
    what = there[name]
    has_rows = what == "table" and session.query(f"SELECT 1 FROM {quoted} LIMIT 1")  # noqa: S608 - quoted
    drop = f"SET foreign_key_checks=0; DROP {what.upper()} {quoted};"
    if has_rows:
        old = quote_name(f"{name[:_NAME_LIMIT]}_old")
        drop = f"CREATE TABLE {old} AS SELECT * FROM {quoted}; {drop}"  # noqa: S608 - quoted
    raise Refused(
        f"{what} {name} is there{' and has rows' if has_rows else ''}, and nothing is put in its place"
        + (f"; so are {others}" if others else ""),
        mend=f"{'Keep its rows under another name, and drop' if has_rows else 'Drop'} it: {drop}",
    )


def _check_level(session: Session, tables: Database) -> None:
    """The tables that stay must be of the same migration as those that come."""
    if MIGRATIONS in _names(tables) or tables.newest_migration is None:
        return
    here = newest_migration(session)
    if here != tables.newest_migration:
        raise Refused(
            f"the backup's tables are at migration {tables.newest_migration}, the database is at {here}",
            mend="Take a backup that was made after that migration, or restore this one whole.",
        )


def _check_keys(
    session: Session, database: Database, tables: Database, there: dict[str, str], checked: Checked
) -> None:
    """Foreign keys: what the tables refer to must be there, and what referred to them must still do so."""
    names, now = set(_names(tables)), foreign_keys(session)
    own = [key for table in tables.tables for key in foreign_keys_of(table)]
    lost = sorted({key.parent for key in own} - names - there.keys())
    if lost:
        raise Refused(
            f"{some(sorted({key.table for key in own if key.parent in lost}), _SHOWN)} refers to "
            f"{some(lost, _SHOWN)}, which is not there either",
            mend=f"Bring it back as well: --tables {','.join((*_names(tables), *lost))}",
        )
    taken = {key.name: key.table for key in now if key.table not in names}
    # Servers on which such a name is a table's alone may have had it twice from the beginning.
    before = {(key.table, key.name) for table in database.tables for key in foreign_keys_of(table)}
    taken = {name: table for name, table in taken.items() if (table, name) not in before}
    clashing = [f"{key.name} of {taken[key.name]}" for key in own if key.name in taken]
    if clashing:
        raise Refused(
            f"foreign keys of these tables are another table's by now: {some(clashing, _SHOWN)}",
            mend="Such a table was renamed. Copy its rows (CREATE TABLE … AS SELECT …), and drop it.",
        )
    _check_children([key for key in _children(database, names) if key.table in there], now, checked)


def _children(database: Database, names: Collection[str]) -> Iterable[ForeignKey]:
    """The backup's foreign keys by which other tables refer to these."""
    others = (table for table in database.tables if table.name not in names)
    return (key for table in others for key in foreign_keys_of(table) if key.parent in names)


def _check_children(children: Iterable[ForeignKey], now: Iterable[ForeignKey], checked: Checked) -> None:
    by_name = {(key.table, key.name): key for key in now}
    for key in children:
        found = by_name.get((key.table, key.name))
        if found is None:
            checked.warnings.append(
                f"the foreign key {key.name} of {key} is gone, and doesn't come back with the table"
            )
        elif found.parent != key.parent:
            raise Refused(
                f"{key.parent} was renamed: the foreign key {key.name} of {key.table} leads to {found.parent} now",
                mend=f"Rename {found.parent} back, copy its rows (CREATE TABLE … AS SELECT …), and drop it.",
            )
