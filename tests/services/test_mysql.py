"""What only MySQL has, and where its own oracle is of no use."""

from collections.abc import Callable

import pytest

from tests.support.engine import comparable, differences, dump_database, fill, load_database, told
from tests.support.servers import Server

pytestmark = pytest.mark.flavours("mysql")

TAGGED = [
    "CREATE TABLE t (id INT PRIMARY KEY, j JSON, KEY tags ((CAST(j->'$.tags' AS UNSIGNED ARRAY))),"
    " UNIQUE KEY words (id, (CAST(j->'$.words' AS CHAR(20) ARRAY))))",
    """INSERT INTO t VALUES (1,'{"tags": [1, 2, 3], "words": ["a", "ü"]}'), (2,'{"tags": []}'), (3,NULL), (4,'{}')""",
]


def checksum(server: Server, database: str) -> object:
    return server.run(f"CHECKSUM TABLE {database}.t EXTENDED")[0][1]


def test_a_key_on_the_elements_of_an_array_comes_back(server: Server, new_database: Callable[[], str]) -> None:
    """CHECKSUM TABLE says something else each time of such a table: the rows and the client's dump are the oracle."""
    source, target, native = new_database(), new_database(), new_database()
    fill(server, source, TAGGED)
    assert len({checksum(server, source) for _ in range(5)}) > 1, "an oracle after all: use CHECKSUM TABLE"
    sql, description = dump_database(server.url(source), 2)
    assert told(load_database(server.url(target), sql)) == []
    server.native_load(native, sql)
    for database in (target, native):
        assert server.run(f"SELECT * FROM {database}.t") == server.run(f"SELECT * FROM {source}.t")
        assert comparable(server.native_dump(database), database) == comparable(server.native_dump(source), source)
        assert differences(server.url(database), description) == []
        assert server.run(f"SELECT id FROM {database}.t WHERE 2 MEMBER OF (j->'$.tags')") == [(1,)]


def test_a_table_keeps_a_row_format_that_is_not_the_servers_own(
    server: Server, new_database: Callable[[], str]
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [
        "CREATE TABLE compact (id INT PRIMARY KEY) ROW_FORMAT=COMPACT",
        "CREATE TABLE whatever (id INT PRIMARY KEY)",
        "INSERT INTO compact VALUES (1)",
    ])  # fmt: skip
    server.run("SET GLOBAL show_create_table_verbosity = ON")
    try:
        sql, description = dump_database(server.url(source))
    finally:
        server.run("SET GLOBAL show_create_table_verbosity = OFF")
    assert sql.count(b"ROW_FORMAT") == 1
    load_database(server.url(target), sql)
    assert differences(server.url(target), description) == []
