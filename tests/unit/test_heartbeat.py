"""Pings to a watchdog, at a real listener on loopback: one that is well, away, slow, or refuses."""

import socket
import time
from collections.abc import Iterator

import pytest

from sidecar.report import heartbeat
from sidecar.report.heartbeat import BODY, address, ping
from sidecar.secret import ping_url
from tests.support.listener import Listener, closed_port, listening


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heartbeat, "_PAUSE", 0.05)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert "t0ken" not in caplog.text
    return [record.getMessage() for record in caplog.records if record.name.startswith("sidecar")]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://hc.example/abc", "https://hc.example/abc/start"),
        ("https://hc.example/abc/", "https://hc.example/abc/start"),
        ("https://hc.example/abc?create=1&x=%2F", "https://hc.example/abc/start?create=1&x=%2F"),
        ("http://u:p@hc.example:8000/abc#x", "http://hc.example:8000/abc/start"),
        ("http://hc.example", "http://hc.example/start"),
    ],
)
def test_the_path_gets_the_suffix_and_the_query_stays(url: str, wanted: str) -> None:
    assert address(url, "start") == wanted
    assert address(url, "success") == wanted.replace("/start", "" if "abc/" not in url else "/")


def test_start_success_and_fail_are_posts_with_a_body(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    url = ping_url(listener.heartbeat_url)
    assert ping(url, "start")
    assert ping(url, "success", "fine: ümlaut")
    assert ping(url, "fail", "ö" * BODY)
    assert listener.beats == ["/start", "", "/fail"]
    assert [post.text for post in listener.posts[:2]] == ["", "fine: ümlaut"]
    assert len(listener.posts[2].body) == BODY
    assert listener.posts[1].headers["content-type"] == "text/plain; charset=utf-8"
    assert warnings(caplog) == []


def test_user_and_password_go_as_such(listener: Listener) -> None:
    assert ping(ping_url(f"http://me:s3%3Acret@127.0.0.1:{listener.port}/t0ken"), "start")
    assert listener.posts[0].headers["authorization"] == "Basic bWU6czM6Y3JldA=="
    assert listener.posts[0].headers["host"] == f"127.0.0.1:{listener.port}"


def test_away_is_one_warning_after_two_tries(caplog: pytest.LogCaptureFixture) -> None:
    assert not ping(ping_url(f"http://127.0.0.1:{closed_port()}/t0ken-t0ken"), "fail")
    [warning] = warnings(caplog)
    assert warning.startswith("HEARTBEAT_URL http://127.0.0.1:")
    assert "/*** was not told of the failure: " in warning
    assert "refused" in warning


@pytest.mark.parametrize(("statuses", "heard", "posts"), [([500, 200], True, 2), ([503], False, 2), ([404], False, 1)])
def test_what_may_pass_is_tried_once_more(
    listener: Listener, caplog: pytest.LogCaptureFixture, statuses: list[int], heard: bool, posts: int
) -> None:
    listener.statuses = statuses.copy()
    assert ping(ping_url(listener.heartbeat_url), "success") is heard
    assert len(listener.posts) == posts
    assert [f"it answered {statuses[-1]}" in warning for warning in warnings(caplog)] == ([] if heard else [True])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_nothing_elsewhere(listener: Listener, caplog: pytest.LogCaptureFixture, status: int) -> None:
    with listening() as other:
        listener.statuses, listener.location = [status], other.heartbeat_url
        assert not ping(ping_url(listener.heartbeat_url), "success", "what is inside")
        assert other.posts == []
    assert f"it answered {status}" in warnings(caplog)[0]


def test_one_that_never_answers_is_given_up(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    listener.hangs = True
    began = time.monotonic()
    assert not ping(ping_url(listener.heartbeat_url), "start", timeout=0.3)
    assert time.monotonic() - began < 5
    assert len(warnings(caplog)) == 1
    assert len(listener.posts) == 2


def test_one_that_drips_is_given_up_too(caplog: pytest.LogCaptureFixture) -> None:
    """A byte now and then keeps each read within its timeout: the whole has one of its own."""
    import threading

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while not stop.wait(0.05):
                        connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        assert not ping(ping_url(f"http://127.0.0.1:{server.getsockname()[1]}/t0ken-t0ken"), "start", timeout=0.4)
        assert time.monotonic() - began < 5
        stop.set()
        thread.join(10)
    assert "no answer within" in warnings(caplog)[0]
