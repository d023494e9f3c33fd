"""Nothing is ever cut in silence, however large; and memory stays within bounds."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from sidecar.database.dump import Dump
from sidecar.database.raw import RAW_LIMIT
from sidecar.database.snapshot import take
from sidecar.errors import KimaiBackupError
from tests.services.conftest import running
from tests.support.engine import checksums, differences, dump_database, fill, load_database, session
from tests.support.servers import Server

MEGABYTE = 1 << 20


def goes_round(server: Server, source: str, target: str, connections: int = 2) -> bytes:
    sql, description = dump_database(server.url(source), connections)
    assert load_database(server.url(target), sql, 1).warnings == []
    assert checksums(server, target) == checksums(server, source)
    assert differences(server.url(target), description, connections) == []
    return sql


@pytest.mark.parametrize("key", ["INT PRIMARY KEY", "INT"])
def test_rows_around_every_limit_come_back(server: Server, new_database: Callable[[], str], key: str) -> None:
    """One megabyte is a statement's limit and that of raw values, four are a packet's: rendered values double."""
    source, target = new_database(), new_database()
    sizes = [0, 1, 499_000, 990_000, MEGABYTE - 1, RAW_LIMIT - 1, RAW_LIMIT, 2 * MEGABYTE - 20, 2 * MEGABYTE + 1]
    sizes.append(5 * MEGABYTE)
    fill(server, source, [
        f"CREATE TABLE t (id {key}, v LONGTEXT, b LONGBLOB, l LONGTEXT CHARACTER SET latin1)",
        *[f"INSERT INTO t VALUES ({n}, REPEAT('\\'', {size}), REPEAT(X'0027', {size // 2}), "
          f"REPEAT(_latin1 X'E4', {size // 9}))"
          for n, size in enumerate(sizes)],
        "INSERT INTO t VALUES (90, NULL, NULL, NULL), (91, 'small', 'small', 'small')",
    ])  # fmt: skip
    goes_round(server, source, target)


@pytest.mark.slow
def test_a_text_of_32_and_a_blob_of_30_megabytes_come_back(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [
        "CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT, b LONGBLOB)",
        "INSERT INTO t VALUES (1, NULL, NULL), (3, 'v', NULL), (4, NULL, NULL)",
        "INSERT INTO t VALUES (2, REPEAT('ü\\\\0\\'x', 5592405), 'b')",
        f"UPDATE t SET b = REPEAT(X'00270A5CFFAB', {30 * MEGABYTE // 6}) WHERE id = 3",
    ])  # fmt: skip
    assert server.run(f"SELECT MAX(LENGTH(v)), MAX(LENGTH(b)) FROM {source}.t")[0] >= (32 * MEGABYTE - 9, 30 * MEGABYTE)
    goes_round(server, source, target)


@pytest.fixture(scope="module")
def stock(flavour: str) -> Iterator[Server]:
    """Packets of at most 16 MB: MariaDB as Debian ships it; a stock MySQL takes 64."""
    with running(flavour, *["--max-allowed-packet=16M"] * (flavour == "mysql")) as server:
        assert server.run("SELECT @@max_allowed_packet") == [(16 * MEGABYTE,)]
        yield server


class TestOnAStockServer:
    @pytest.fixture
    def server(self, stock: Server) -> Server:
        return stock

    @pytest.mark.parametrize("key", ["INT PRIMARY KEY", "VARBINARY(9)"])
    def test_a_blob_of_10_megabytes_comes_back(self, server: Server, new_database: Callable[[], str], key: str) -> None:
        """In hexadecimal it could not be loaded again: mariadb-dump --hex-blob can't."""
        source, target = new_database(), new_database()
        rows = f"(1, REPEAT(X'41E4B0FF', {10 * MEGABYTE // 4})), (2, 'x')"
        fill(server, source, [f"CREATE TABLE t (id {key}, b LONGBLOB)", f"INSERT INTO t VALUES {rows}"])
        sql = goes_round(server, source, target)
        assert sql.count(b"_binary '") == 1
        native = new_database()
        server.native_load(native, sql)
        assert checksums(server, native) == checksums(server, source)

    def test_a_row_that_could_not_be_loaded_again_is_dumped_and_said(
        self, server: Server, new_database: Callable[[], str]
    ) -> None:
        source = new_database()
        fill(server, source, [
            "CREATE TABLE t (id INT PRIMARY KEY, a LONGTEXT, b LONGTEXT)", "INSERT INTO t (id) VALUES (1)",
            f"UPDATE t SET a = REPEAT('x', {12 * MEGABYTE})", f"UPDATE t SET b = REPEAT('y', {12 * MEGABYTE})",
        ])  # fmt: skip
        with take(lambda: session(server.url(source)), 1) as taken:
            dump = Dump(taken, tool_version="test")
            sql = b"".join(dump.chunks())
            assert dump.description().largest_statement > 24 * MEGABYTE
            assert any("max_allowed_packet" in warning for warning in dump.warnings())
        assert sql.count(b"x" * MEGABYTE) == sql.count(b"y" * MEGABYTE) == 12
        with pytest.raises(KimaiBackupError, match="max_allowed_packet"):
            load_database(server.url(new_database()), sql)


@pytest.mark.slow
def test_memory_stays_within_128_mib_where_the_first_guess_is_far_too_large(
    server: Server, new_database: Callable[[], str]
) -> None:
    """5,000 rows of 100 KB behind 3,000 tiny ones: pages are cut by rows, and the first large page holds 500 MB."""
    source = new_database()
    numbers = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6"
    numbers += " UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
    joined = ", ".join(f"{numbers} n{n}" for n in range(4))
    key = "n0.d + 10 * n1.d + 100 * n2.d + 1000 * n3.d"
    fill(server, source, [
        "CREATE TABLE t (id INT PRIMARY KEY, v MEDIUMTEXT) STATS_PERSISTENT=1 STATS_AUTO_RECALC=0",
        f"INSERT INTO t SELECT {key}, IF({key} < 3000, 'x', REPEAT('y', 100000)) FROM {joined} WHERE {key} < 8000",
    ])  # fmt: skip
    peak, rows, size = measured(server.url(source))
    assert (rows, size > 500_000_000) == (8000, True)
    assert peak < 128


def measured(url: str) -> list[int]:
    command = [sys.executable, "-m", "tests.support.peak", url, "2"]
    return [int(word) for word in subprocess.run(command, check=True, capture_output=True, timeout=100).stdout.split()]
