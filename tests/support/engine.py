"""Dump and load by the product's own engine, for tests that look at what came back."""

from sidecar.database import compare, dump, load, server, snapshot
from sidecar.database.url import parse
from sidecar.manifest import Database


def dump_database(url: str, connections: int = 2) -> tuple[bytes, Database]:
    with snapshot.take(lambda: server.connect(parse(url)), connections) as taken:
        made = dump.Dump(taken, tool_version="test")
        sql = b"".join(made.chunks())
        return sql, made.description()


def load_database(url: str, sql: bytes, connections: int = 2, chunk: int = 1 << 20) -> load.Loaded:
    loading = load.Load(lambda: server.connect(parse(url)), connections)
    try:
        loading.run(sql[start : start + chunk] for start in range(0, len(sql), chunk))
        loading.enable_events()
    finally:
        loading.close()
    return loading.loaded


def differences(url: str, expected: Database, connections: int = 2) -> list[str]:
    with snapshot.take(lambda: server.connect(parse(url)), connections) as taken:
        return [str(difference) for difference in compare.compare(taken, expected)]


def checksums(run_on: object, database: str) -> dict[str, object]:
    """The server's own CHECKSUM TABLE of each base table: an oracle that knows nothing of this tool."""
    run = run_on.run  # type: ignore[attr-defined]
    names = [
        row[0]
        for row in run(
            "SELECT TABLE_NAME FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA = '{database}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"
        )
    ]
    quoted = {name: "`" + name.replace("`", "``") + "`" for name in names}
    return {name: run(f"CHECKSUM TABLE {quoted[name]} EXTENDED", database=database)[0][1] for name in names}
