"""What docs/format.md and the README promise to whoever has no kimai-backup: the plain client loads, digests add up."""

import hashlib
import re
from collections.abc import Callable

from tests.support.engine import checksums, dump_database
from tests.support.servers import Server

TEXTS = ("CR LF\r\nhere", "\r", "\n", "\\\r\n'\"", "a\x1ab", "\x00", "), \r\n(1, ';", "emoji 😀\r\n")


def filled(server: Server, name: str) -> None:
    quoted = ", ".join(f"({number}, X'{text.encode().hex()}')" for number, text in enumerate(TEXTS))
    server.run(
        "CREATE TABLE numbered (id INT PRIMARY KEY, t TEXT) CHARACTER SET utf8mb4",
        f"INSERT INTO numbered VALUES {quoted}",
        "CREATE TABLE keyless (id INT, t TEXT) CHARACTER SET utf8mb4",
        "INSERT INTO keyless SELECT * FROM numbered UNION ALL SELECT * FROM numbered",
        "CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB)",
        "INSERT INTO large VALUES (1, REPEAT(X'0D0A00275C1A0D', 400000))",
        database=name,
    )


def test_the_client_without_any_option_loads_what_we_dump(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    filled(server, source)
    sql, _ = dump_database(server.url(source))
    server.native_load(target, sql, options=())
    assert checksums(server, target) == checksums(server, source)


def test_a_digest_can_be_computed_from_the_sql_alone(server: Server, new_database: Callable[[], str]) -> None:
    source = new_database()
    filled(server, source)
    sql, database = dump_database(server.url(source))
    digests = {table.name: table.digest for table in database.tables}
    numbered = b",\n(".join(rows(sql, "numbered"))
    assert digests["numbered"] == f"sha256-ordered:{hashlib.sha256(numbered).hexdigest()}"
    total = sum(int(hashlib.sha256(row).hexdigest(), 16) for row in rows(sql, "keyless"))
    assert digests["keyless"] == f"sha256-sum:{total % 2**256:064x}"


def rows(sql: bytes, table: str) -> list[bytes]:
    """The rows of a table as docs/format.md says that they are hashed."""
    found: list[bytes] = []
    for block in re.findall(rb"INSERT INTO `%b` [^\n]*\n\((.*?)\);?\n\n" % table.encode(), sql + b"\n\n", re.DOTALL):
        unescaped = re.sub(rb"\\(.)", lambda match: b"\r" if match[1] == b"r" else match[0], block, flags=re.DOTALL)
        found += [row + b")" for row in unescaped.removesuffix(b";").removesuffix(b")").split(b"),\n(")]
    return found
