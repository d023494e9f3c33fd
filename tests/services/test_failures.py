"""The server dies, the line breaks or falls silent: an error soon, without a secret, and no thread hangs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from sidecar.database import server as engine_server
from sidecar.database.dump import Dump
from sidecar.database.load import Load
from sidecar.database.objects import contents, drop
from sidecar.database.server import QueryFailed
from sidecar.database.snapshot import Snapshot, take
from sidecar.errors import Damaged, KimaiBackupError, Unreachable
from tests.services.conftest import running
from tests.support.engine import dump_database, fill, session
from tests.support.proxy import Proxy
from tests.support.servers import Server, free_port

ROWS = [
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(500))",
    "INSERT INTO t (v) VALUES (REPEAT('x', 500))",
    *["INSERT INTO t (v) SELECT v FROM t"] * 14,
    "CREATE TABLE keyless (v VARCHAR(500))",
    "INSERT INTO keyless SELECT v FROM t",
]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith(("snapshot", "loader"))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def through(server: Server, new_database: Callable[[], str]) -> Iterator[tuple[Proxy, str, str]]:
    """A proxy before the server, and the URLs of a filled and an empty database through it."""
    source, target = new_database(), new_database()
    fill(server, source, ROWS)
    with Proxy(server.host, server.port) as proxy:
        urls = [server.url(name).replace(f":{server.port}/", f":{proxy.port}/") for name in (source, target)]
        yield proxy, urls[0], urls[1]


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("cut_after", [1, 40_000, 300_000, 5_000_000, 12_000_000])
def test_a_connection_reset_at_any_point_of_a_dump(
    through: tuple[Proxy, str, str], cut_after: int, connections: int
) -> None:
    proxy, url, _ = through
    proxy.cut_after = cut_after
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        dump_database(url, connections)
    assert time.monotonic() - begun < 10


def test_without_a_cut_the_proxy_changes_nothing(through: tuple[Proxy, str, str]) -> None:
    _, url, _ = through
    assert [table.rows for table in dump_database(url, 2)[1].tables] == [16384, 16384]


@pytest.mark.parametrize("connections", [1, 3])
def test_a_server_that_falls_silent_is_given_up(
    through: tuple[Proxy, str, str], connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_server, "READ_DEADLINE", 1)
    proxy, url, _ = through
    proxy.cut_after, proxy.hang = 5_000_000, True
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="does not answer"):
        dump_database(url, connections)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("connections", [1, 3])
def test_a_connection_reset_in_the_middle_of_a_load(through: tuple[Proxy, str, str], connections: int) -> None:
    proxy, url, target = through
    sql, _ = dump_database(url, 2)
    loading = Load(lambda: session(target), connections)
    half = len(sql) // 2

    def chunks() -> Iterator[bytes]:
        yield sql[:half]
        proxy.reset()
        yield sql[half:]

    begun = time.monotonic()
    with pytest.raises(Unreachable):
        loading.run(chunks())
    loading.close()
    assert time.monotonic() - begun < 10


def test_a_dump_that_stops_arriving_stops_the_loaders(through: tuple[Proxy, str, str]) -> None:
    _, url, target = through
    sql, _ = dump_database(url, 2)
    loading = Load(lambda: session(target), 3)

    def chunks() -> Iterator[bytes]:
        yield sql[: len(sql) // 2]
        raise OSError("the disk is gone")

    begun = time.monotonic()
    with pytest.raises(OSError, match="the disk is gone"):
        loading.run(chunks())
    loading.close()
    assert time.monotonic() - begun < 10


def test_a_statement_that_fails_stops_the_others_soon(server: Server, new_database: Callable[[], str]) -> None:
    target = new_database()
    fill(server, target, ["CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)"])
    loading = Load(lambda: session(server.url(target)), 3)
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        yield b"INSERT INTO t VALUES (1, 'x'), (1, 'again');\n"
        for taken in range(2000):
            yield b"INSERT INTO t VALUES (%d, '%s');\n" % (taken + 2, b"y" * 100_000)

    with pytest.raises(Damaged, match="Duplicate entry"):
        loading.run(chunks())
    loading.close()
    assert taken < 1000
    undo = session(server.url(target))
    drop(undo, contents(undo))
    assert contents(undo) == []
    undo.close()


def test_a_server_killed_in_the_middle_of_a_dump_and_of_a_load(flavour: str) -> None:
    with running(flavour) as server:
        server.run("CREATE DATABASE source")
        fill(server, "source", ROWS)
        sql, _ = dump_database(server.url("source"), 2)
        server.run("CREATE DATABASE target")
        loading = Load(lambda: session(server.url("target")), 2)

        def chunks() -> Iterator[bytes]:
            yield sql[: len(sql) // 3]
            server.kill()
            yield sql[len(sql) // 3 :]

        with pytest.raises(Unreachable, match="does not answer"):
            loading.run(chunks())
        loading.close()
    with running(flavour) as server:
        server.run("CREATE DATABASE source")
        fill(server, "source", ROWS)
        with take(lambda: session(server.url("source")), 2) as taken:
            chunks_ = Dump(taken, tool_version="test").chunks()
            while b"INSERT" not in next(chunks_):
                pass
            server.kill()
            with pytest.raises(Unreachable, match="does not answer"):
                for _ in chunks_:
                    pass


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (lambda url: url.replace("hunter2", "hunter3"), "Check user and password in DATABASE_URL."),
        (lambda url: url.replace("//u", "//nobody-u"), "Check user and password in DATABASE_URL."),
        (lambda url: url.rsplit("/", 1)[0] + "/elsewhere", "Check the database's name in DATABASE_URL"),
        (lambda url: url.rsplit(":", 1)[0] + f":{free_port()}/kimai", "Check that the server runs and can be reached."),
    ],
    ids=["password", "user", "database", "server"],
)
def test_what_keeps_us_out_is_told_with_its_mend_and_without_the_password(
    new_database: Callable[[], str], new_user: Callable[..., str], change: Callable[[str], str], mend: str
) -> None:
    url = change(new_user(new_database(), "SELECT"))
    with pytest.raises(Unreachable) as caught:
        session(url)
    assert mend in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_statement_that_the_server_refuses_keeps_the_session(server: Server, new_database: Callable[[], str]) -> None:
    connected = session(server.url(new_database()))
    with pytest.raises(QueryFailed, match="1064") as caught:
        connected.query("SELEC 1")
    assert caught.value.code == 1064
    with pytest.raises(QueryFailed, match="1305"):
        list(connected.stream("SELECT no_such_function()"))
    assert connected.value("SELECT 1") == "1"
    connected.close()
    connected.close()
    with pytest.raises(Unreachable):
        connected.query("SELECT 1")


def test_a_close_wakes_a_thread_that_waits_for_the_server(server: Server, new_database: Callable[[], str]) -> None:
    connected = session(server.url(new_database()))
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            connected.query("SELECT SLEEP(60)")
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    begun = time.monotonic()
    connected.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert time.monotonic() - begun < 5
    assert len(raised) == 1


def write_until_the_disk_is_full(url: str, connections: int, room: int) -> None:
    with take(lambda: session(url), connections) as taken:
        size = 0
        # The error's traceback keeps the one who writes, and so the dump, right where it was.
        chunks = Dump(taken, tool_version="test").chunks()
        for chunk in chunks:
            size += len(chunk)
            if size > room:
                raise OSError("no room")


@pytest.mark.parametrize("connections", [1, 2])
def test_a_dump_whose_reader_gives_up_ends_at_once(
    server: Server, new_database: Callable[[], str], connections: int
) -> None:
    """On a full disk, say: a row read by itself still holds its session while the pages to come wait for one."""
    source = new_database()
    value = "REPEAT('x', 5000000)"
    rows = ",".join(f"({n}, {value})" for n in range(6))
    fill(server, source, ["CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)", f"INSERT INTO t VALUES {rows}"])
    begun = time.monotonic()
    for room in (1_000_000, 6_000_000, 11_000_000):
        with pytest.raises(OSError, match="no room"):
            write_until_the_disk_is_full(server.url(source), connections, room)
    assert time.monotonic() - begun < 20


def test_who_waits_for_a_session_is_told_that_the_snapshot_was_closed(
    server: Server, new_database: Callable[[], str]
) -> None:
    def borrow(taken: Snapshot) -> None:
        with taken.borrow():
            raise AssertionError("the only session is lent already")

    url = server.url(new_database())
    with ExitStack() as never_given_back:
        with take(lambda: session(url), 1) as taken:
            never_given_back.enter_context(taken.borrow())
            waiting = taken.executor.submit(borrow, taken)
            deadline = time.monotonic() + 5
            while not waiting.running():
                assert time.monotonic() < deadline
        with pytest.raises(KimaiBackupError, match="the snapshot was closed"):
            waiting.result(5)
