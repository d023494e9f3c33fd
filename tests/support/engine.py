"""Dump and load by the product's own engine, for tests that look at what came back."""

import re

from sidecar.database import compare, dump, load, server, snapshot
from sidecar.database.url import parse
from sidecar.manifest import Database
from tests.support.servers import Server


def session(url: str) -> server.Session:
    return server.connect(parse(url))


def dump_database(url: str, connections: int = 2) -> tuple[bytes, Database]:
    with snapshot.take(lambda: session(url), connections) as taken:
        made = dump.Dump(taken, tool_version="test")
        sql = b"".join(made.chunks())
        return sql, made.description()


def load_database(url: str, sql: bytes, connections: int = 2, chunk: int = 1 << 20) -> load.Loaded:
    loading = load.Load(lambda: session(url), connections)
    try:
        loading.run(sql[start : start + chunk] for start in range(0, len(sql), chunk))
        loading.enable_events()
    finally:
        loading.close()
    return loading.loaded


def told(loaded: load.Loaded) -> list[str]:
    """The warnings of a load, without MySQL's on bytes that mean no character in their charset: they are kept."""
    return [warning for warning in loaded.warnings if not warning.startswith("1300:")]


def differences(url: str, expected: Database, connections: int = 2) -> list[str]:
    with snapshot.take(lambda: session(url), connections) as taken:
        return [str(difference) for difference in compare.compare(taken, expected)]


def checksums(run_on: Server, database: str) -> dict[str, object]:
    """The server's own CHECKSUM TABLE of each base table: an oracle that knows nothing of this tool."""
    run = run_on.run
    names = [
        row[0]
        for row in run(
            "SELECT TABLE_NAME FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA = '{database}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"
        )
    ]
    quoted = {name: "`" + name.replace("`", "``") + "`" for name in names}
    return {name: run(f"CHECKSUM TABLE {quoted[name]} EXTENDED", database=database)[0][1] for name in names}


def fill(server: Server, database: str, statements: list[str]) -> None:
    with server.admin(database) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00'")
        for statement in statements:
            cursor.execute(statement)


def comparable(sql: bytes, *databases: str) -> bytes:
    """A native dump without the database's name, and without what MySQL adds to a table by loading it again."""
    for name in databases:
        sql = sql.replace(name.encode(), b"DB")
    if b"\n-- Server version\t" in sql and b"MariaDB" not in sql.split(b"\n-- Server version\t")[1].split(b"\n")[0]:
        sql = re.sub(rb" CHARACTER SET \w+(?= (?:COLLATE|NOT NULL|DEFAULT|COMMENT|GENERATED)|,?\n)", b"", sql)
    return sql


def assert_round_trip(server: Server, source: str, target: str, connections: int) -> None:
    sql, description = dump_database(server.url(source), connections)
    loaded = load_database(server.url(target), sql, connections)
    said = told(loaded)
    assert said == [], said
    assert checksums(server, target) == checksums(server, source)
    assert comparable(server.native_dump(target), target) == comparable(server.native_dump(source), source)
    assert differences(server.url(target), description) == []
    assert (description.unreadable, description.unseen) == ([], [])
