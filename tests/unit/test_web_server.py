"""The server: what it answers with which headers, what it refuses, and that no fault or hang of it ends others."""

import asyncio
import gzip
import http.client
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn

from sidecar.errors import ConfigurationError
from sidecar.report.web import server as web_server
from sidecar.report.web.server import Server, _Waiting, serve
from sidecar.status import Status
from sidecar.values import Listen
from tests.support import statuses


@contextmanager
def served(status: Callable[[], Status]) -> Iterator[Server]:
    server = serve(status, Listen("127.0.0.1", 0), in_container=True)
    try:
        yield server
    finally:
        server.stop(10)


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(*server.listen, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def well() -> Iterator[Server]:
    with served(statuses.healthy) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "kind", "holds"),
    [
        ("/", "text/html; charset=utf-8", b"All is well"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", b"kimai_backup_healthy 1.0"),
        ("/healthz", "text/plain; charset=utf-8", b"ok\n"),
        ("/static/style.css", "text/css; charset=utf-8", b"prefers-color-scheme"),
        ("/static/page.js", "text/javascript; charset=utf-8", b"clipboard"),
        ("/static/icon.svg", "image/svg+xml", b"<svg"),
    ],
)
def test_what_is_there(well: Server, path: str, kind: str, holds: bytes) -> None:
    response, body = ask(well, path)
    assert response.status == 200
    assert response.headers["Content-Type"] == kind
    assert holds in body
    head, nothing = ask(well, path, "HEAD")
    assert (head.status, nothing) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/", "/static/nothing.css", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/metrics/"]
)
def test_what_is_not_there(well: Server, path: str) -> None:
    response, body = ask(well, path)
    assert response.status == 404
    assert b"import" not in body
    assert b"Nothing here" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/static/page.js"])
def test_nothing_can_be_written(well: Server, method: str, path: str) -> None:
    response, _ = ask(well, path, method)
    assert response.status == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/static/page.js", "/nothing"])
def test_every_answer_is_locked_up(well: Server, path: str) -> None:
    headers = ask(well, path)[0].headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers
    assert headers["Date"].endswith("GMT")


def test_the_page_is_packed_for_who_can_unpack_it() -> None:
    with served(statuses.large) as server:
        response, body = ask(server, "/", **{"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(body) < 80_000
        assert gzip.decompress(body).count(b"docker compose run") == 3000


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_the_same_file_is_given_again_and_again(well: Server, encoding: str) -> None:
    sizes = set()
    for _ in range(3):
        response, body = ask(well, "/static/style.css", **{"Accept-Encoding": encoding})
        sizes.add((response.status, response.headers["Content-Length"], len(body)))
    assert len(sizes) == 1


def test_health_tells_each_problem_in_a_line() -> None:
    with served(statuses.failing) as server:
        response, body = ask(server, "/healthz")
        assert response.status == 503
        assert body.decode().splitlines() == list(statuses.failing().problems)
        assert ask(server, "/")[0].status == 200


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_fault_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    faults = iter([ValueError("the history is odd")])

    def status() -> Status:
        for fault in faults:
            raise fault
        return statuses.healthy()

    with served(status) as server:
        response, body = ask(server, "/")
        assert response.status == 500
        assert b"odd" not in body
        assert response.headers["Content-Security-Policy"]
        assert ask(server, "/")[0].status == 200
    assert [record.getMessage() for record in warnings(caplog) if record.name.startswith("sidecar")] == [
        "/ can't be shown"
    ]


def test_a_port_in_use_is_a_configuration_error_that_names_the_setting(well: Server) -> None:
    with pytest.raises(ConfigurationError, match=rf"HTTP_LISTEN 127.0.0.1:{well.listen.port}: .*in use.*HTTP_LISTEN="):
        serve(statuses.healthy, well.listen, in_container=True)


def test_an_address_of_another_machine_is_one_too() -> None:
    with pytest.raises(ConfigurationError, match=r"HTTP_LISTEN 192\.0\.2\.1:8080: can't listen there"):
        serve(statuses.healthy, Listen("192.0.2.1", 8080), in_container=True)


def test_a_server_that_was_stopped_is_gone_at_once_and_its_port_is_free(caplog: pytest.LogCaptureFixture) -> None:
    with served(statuses.healthy) as server:
        # One that keeps its connection open must not hold up the end.
        idle = http.client.HTTPConnection(*server.listen, timeout=5)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        begun = time.monotonic()
        server.stop(5)
        assert time.monotonic() - begun < 3
        idle.close()
        serve(statuses.healthy, server.listen, in_container=True).stop(5)
    assert not warnings(caplog)


def test_one_that_hangs_is_left_behind_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    goes_on = threading.Event()
    asked = threading.Event()

    def status() -> Status:
        asked.set()
        goes_on.wait(30)
        return statuses.empty()

    server = serve(status, Listen("127.0.0.1", 0), in_container=True)
    with socket.create_connection(server.listen, timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(5)
        begun = time.monotonic()
        server.stop(0.3)
        assert time.monotonic() - begun < 2
    goes_on.set()
    server.stop(10)
    assert "is left behind" in caplog.text
    assert not server._thread.is_alive()


@pytest.mark.slow
def test_stopping_one_that_has_only_begun_ends_it() -> None:
    for _ in range(20):
        begun = time.monotonic()
        serve(statuses.empty, Listen("127.0.0.1", 0), in_container=True).stop(5)
        assert time.monotonic() - begun < 3


def test_an_end_that_comes_before_it_waits_is_not_missed() -> None:
    waiting = _Waiting(uvicorn.Config(lambda: None, log_config=None))
    waiting.end()
    asyncio.run(asyncio.wait_for(waiting.main_loop(), 5))


def test_more_connections_than_there_is_room_for_are_told_to_come_again() -> None:
    with served(statuses.empty) as server, ExitStack() as opened:
        for _ in range(80):
            opened.enter_context(socket.create_connection(server.listen, timeout=5))
        ends = time.monotonic() + 20
        while (code := ask(server, "/healthz")[0].status) != 503:
            assert time.monotonic() < ends
        opened.close()
        while (code := ask(server, "/healthz")[0].status) != 200:
            assert (code, time.monotonic() < ends) == (503, True)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_connections_that_ask_for_nothing_keep_nobody_out_for_long(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(web_server, "_SILENCE", 3.0)
    with served(statuses.empty) as server, ExitStack() as opened:
        idle = [opened.enter_context(socket.create_connection(server.listen, timeout=20)) for _ in range(80)]
        for each in idle:
            each.sendall(sent)
        assert ask(server, "/healthz")[0].status == 503
        for each in idle:
            ended(each)
        assert ask(server, "/healthz")[0].status == 200


def test_one_that_begins_to_ask_again_and_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "_SILENCE", 0.5)
    with served(statuses.empty) as server, socket.create_connection(server.listen, timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        ended(connection)


def ended(connection: socket.socket) -> None:
    """Read until the other side ends it; a silence of 20 s is a failure."""
    try:
        while connection.recv(10_000):
            pass
    except ConnectionResetError:
        pass


@pytest.mark.slow
def test_a_connection_that_is_used_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "_SILENCE", 2.0)
    with served(statuses.empty) as server:
        connection = http.client.HTTPConnection(*server.listen, timeout=20)
        for _ in range(6):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
            time.sleep(0.5)
        connection.close()


def test_it_takes_no_signal_and_no_log_of_others() -> None:
    def state() -> list[object]:
        root = logging.getLogger()
        return [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), root.level, *root.handlers]

    before = state()
    with served(statuses.healthy) as server:
        ask(server, "/")
        assert state() == before
    assert state() == before


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a" * 100_000])
def test_what_is_no_request_is_refused_without_a_word(
    well: Server, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with socket.create_connection(well.listen, timeout=10) as connection:
        try:
            connection.sendall(sent)
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        except ConnectionError:
            # Hung up on before all of it was read, which is as good.
            assert len(sent) > 65_536
    assert not caplog.records
    assert ask(well, "/healthz")[0].status == 200


def test_every_address_means_those_of_both_kinds() -> None:
    if not socket.has_dualstack_ipv6():
        with pytest.raises(ConfigurationError):
            serve(statuses.healthy, Listen("::", 0), in_container=True)
        return
    server = serve(statuses.healthy, Listen("::", 0), in_container=True)
    try:
        for host in ("127.0.0.1", "::1"):
            connection = http.client.HTTPConnection(host, server.listen.port, timeout=5)
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
            connection.close()
    finally:
        server.stop(5)
