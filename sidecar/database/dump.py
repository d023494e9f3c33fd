"""A snapshot as plain SQL text that the clients of MariaDB and MySQL load, with what the manifest says of it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from sidecar.database.created import EVENT_ENABLED, Created
from sidecar.database.definitions import DENIED, Schema, read_schema
from sidecar.database.packets import Digest, Packet
from sidecar.database.render import insert_head
from sidecar.database.rows import read_rows
from sidecar.database.server import DefinitionChanged, QueryFailed, Session, quote_name, quote_text
from sidecar.database.snapshot import Snapshot
from sidecar.database.tables import Table, create_table, read_tables
from sidecar.manifest import Database
from sidecar.manifest import Table as TableEntry

log = logging.getLogger(__name__)

MIGRATIONS = "migration_versions"
LARGE_ROW = 8_000_000
"""Bytes of SQL from which a row's cost in memory is said."""

_HEADER = """\
-- kimai-backup {version}, a dump of {server}
--
-- Database: {database}
-- ------------------------------------------------------

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
"""
_FOOTER = """
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;
/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on {time}
"""
_KEPT = ("character_set_client", "collation_connection", "sql_mode", "time_zone")


def newest_migration(session: Session) -> str | None:
    """The schema's true level: the newest version that Doctrine has put down.

    None where it keeps no such table, or one that may not be read, which is among a dump's `unreadable` then.
    """
    if not session.query(f"SHOW TABLES LIKE {quote_text(MIGRATIONS)}"):
        return None
    try:
        return session.value(f"SELECT MAX(version) FROM {quote_name(MIGRATIONS)}")  # noqa: S608 - a constant
    except QueryFailed as error:
        if error.code not in DENIED:
            raise
        return None


class Dump:
    """One dump of a snapshot: read `chunks` to their end, then ask for its `description`.

    `advance` is called with the number of rows of each packet.
    """

    def __init__(
        self, snapshot: Snapshot, *, tool_version: str, advance: Callable[[int], None] = lambda rows: None
    ) -> None:
        self._snapshot = snapshot
        self._advance = advance
        self._tool_version = tool_version
        with snapshot.borrow() as session:
            self._server_version = session.server_version
            self._flavour = session.flavour
            self._packet_limit = session.packet_limit
            self._database = session.database
            self.newest_migration = newest_migration(session)
            self.schema: Schema = read_schema(session)
        self._entries: list[TableEntry] = []
        self._size = 0
        self._largest = 0

    def chunks(self) -> Iterator[bytes]:
        """The SQL text. Raises `DefinitionChanged` where the whole dump must be made again from a new snapshot."""
        for chunk in self._text():
            self._size += len(chunk)
            yield chunk

    def description(self) -> Database:
        """What the manifest says of the dump."""
        schema = self.schema
        return Database(
            flavour=self._flavour,
            server_version=self._server_version,
            name=self._database,
            charset=schema.charset,
            collation=schema.collation,
            newest_migration=self.newest_migration,
            tables=self._entries,
            objects=schema.objects,
            size=self._size,
            largest_statement=self._largest,
            unreadable=list(schema.unreadable),
            unseen=list(schema.unseen),
        )

    def warnings(self) -> list[str]:
        """What an admin should know of this dump, a line each."""
        found = list(self.schema.notes)
        if self._largest > self._packet_limit:
            found.append(
                f"the largest statement has {self._largest} bytes, more than the server's max_allowed_packet of "
                f"{self._packet_limit}: raise that before a restore"
            )
        return found

    def _text(self) -> Iterator[bytes]:
        yield self._statement(
            _HEADER.format(
                version=self._tool_version, server=self._server_version, database=_one_line(self._database)
            ).encode()
        )
        for sequence in self.schema.sequences:
            yield from self._sequence(sequence)
        for table in self.schema.tables:
            yield from self._table(table)
        yield from self._placeholders()
        yield from self._group("Triggers", self.schema.triggers)
        yield from self._group("Routines", self.schema.routines)
        yield from self._views()
        yield from self._events()
        self._check_definitions()
        time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        yield self._statement(_FOOTER.format(time=time).encode())

    def _statement(self, sql: bytes) -> bytes:
        self._largest = max(self._largest, len(sql))
        return sql

    def _table(self, table: Table) -> Iterator[bytes]:
        name = quote_name(table.name).encode()
        with self._snapshot.borrow() as session:
            create = create_table(session, table)
        yield b"\n--\n-- Table structure for table %s\n--\n\nDROP TABLE IF EXISTS %s;\n" % (
            _comment(name),
            name,
        )
        yield self._statement(create) + b";\n"
        yield b"\n--\n-- Dumping data for table %s\n--\n\n" % _comment(name)
        digest = Digest(table)
        head = insert_head(table)
        for packet in read_rows(self._snapshot, table):
            digest.add(packet)
            yield from self._insert(head, packet)
            self._advance(packet.rows)
        self._entries.append(
            TableEntry(name=table.name, definition=table.definition, rows=digest.rows, digest=str(digest))
        )

    def _insert(self, head: bytes, packet: Packet) -> Iterable[bytes]:
        """One INSERT, in pieces: joining them would copy every row once more."""
        # Outside of their binary mode the native clients make one newline of CR and LF, even within a string.
        sql = packet.sql.replace(b"\r", b"\\r")
        size = len(head) + len(sql)
        self._largest = max(self._largest, size)
        if packet.rows == 1 and size > LARGE_ROW:
            log.warning("a row of %d MB: it costs about four times its size in memory", size // 1_000_000)
        return head, sql, b";\n"

    def _sequence(self, sequence: Created) -> Iterator[bytes]:
        name = quote_name(sequence.described.name).encode()
        yield b"\n--\n-- Sequence structure for %s\n--\n\nDROP SEQUENCE IF EXISTS %s;\n" % (
            _comment(name),
            name,
        )
        following = (sequence.described.definition["next"] or "1").encode()
        yield self._statement(sequence.sql) + b";\nDO SETVAL(%s, %s, 0);\n" % (name, following)

    def _placeholders(self) -> Iterator[bytes]:
        """Views as tables of constants first, so that the true ones load in any order."""
        for view in self.schema.views:
            name = quote_name(view.described.name).encode()
            columns = ", ".join(f"1 AS {quote_name(column)}" for column in view.described.definition["columns"])
            yield b"\n--\n-- Temporary view structure for view %s\n--\n\n" % _comment(name)
            yield b"CREATE VIEW %s AS SELECT %s;\n" % (name, columns.encode())

    def _views(self) -> Iterator[bytes]:
        for view in self.schema.views:
            name = quote_name(view.described.name).encode()
            yield b"\n--\n-- Final view structure for view %s\n--\n\nDROP VIEW IF EXISTS %s;\n" % (
                _comment(name),
                name,
            )
            yield from self._created(view, view.sql)

    def _group(self, title: str, group: Iterable[Created]) -> Iterator[bytes]:
        for number, created in enumerate(group):
            if number == 0:
                yield f"\n--\n-- {title}\n--\n".encode()
            yield from self._created(created, created.sql)

    def _events(self) -> Iterator[bytes]:
        """Events come last, made disabled and then enabled, so that none runs before everything stands."""
        enabling: list[tuple[Created, bytes]] = []
        for number, event in enumerate(self.schema.events):
            if number == 0:
                yield b"\n--\n-- Events\n--\n"
            match = EVENT_ENABLED.match(event.sql)
            if match is None:
                yield from self._created(event, event.sql)
                continue
            yield from self._created(event, match["head"] + b"DISABLE" + event.sql[match.end() :])
            definer = b" DEFINER=%s" % match["definer"] if match["definer"] else b""
            enabling.append((event, b"ALTER%s EVENT %s ENABLE" % (definer, quote_name(event.described.name).encode())))
        for event, sql in enabling:  # in its own settings, too: it takes on those of whoever alters it
            yield from self._created(event, sql)

    def _created(self, created: Created, sql: bytes) -> Iterator[bytes]:
        """One CREATE in the session settings it was made in, which are put back after it."""
        kept = [name for name in _KEPT if name in created.settings]
        yield b"\n"
        for name in kept:
            yield f"SET @saved_{name} = @@{name};\nSET {name} = {quote_text(created.settings[name])};\n".encode()
        yield b"DELIMITER ;;\n"
        yield self._statement(sql)
        yield b" ;;\nDELIMITER ;\n"
        for name in kept:
            yield f"SET {name} = @saved_{name};\n".encode()

    def _check_definitions(self) -> None:
        """What was read at the beginning must still stand: a change between it and the rows would show here."""
        with self._snapshot.borrow() as session:
            after = {table.name: table.definition for table in read_tables(session)}
        changed = [table.name for table in self.schema.tables if after.get(table.name) != table.definition]
        if changed:
            names = ", ".join(changed)
            raise DefinitionChanged(f"tables changed their definition while they were read: {names}", code=1412)


def _comment(name: bytes) -> bytes:
    return _one_line(name.decode()).encode()


def _one_line(name: str) -> str:
    """A name as it may stand in a comment of one line."""
    return name.replace("\n", " ").replace("\r", " ")
