"""A web server on loopback that notices and heartbeats are sent to; it can refuse, redirect, or never answer."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Post(NamedTuple):
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Listener:
    """What the server answers, one status after the other and then the last for ever; and what came to it."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.location = ""
        self.hangs = False
        self.posts: list[Post] = []
        self.port = 0
        self.released = threading.Event()

    @property
    def notify_url(self) -> str:
        """For apprise; the path is as secret as a token."""
        return f"json://someone:pw4you@127.0.0.1:{self.port}/t0ken-of-the-notifier"

    @property
    def heartbeat_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/t0ken-of-the-heartbeat"

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [post.json for post in self.posts if "notifier" in post.path]

    @property
    def titles(self) -> list[str]:
        return [notice["title"] for notice in self.notices]

    @property
    def beats(self) -> list[str]:
        """The pings' paths, behind the token."""
        return [post.path.partition("heartbeat")[2] for post in self.posts if "heartbeat" in post.path]

    def forget(self) -> None:
        self.posts.clear()


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            listener.posts.append(Post(self.path, headers, body))
            if listener.hangs:
                listener.released.wait(60)
                return
            status = listener.statuses.pop(0) if len(listener.statuses) > 1 else listener.statuses[0]
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                if listener.location:
                    self.send_header("Location", listener.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_GET(self) -> None:
            listener.posts.append(Post(f"GET {self.path}", {}, b""))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    listener.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def closed_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
