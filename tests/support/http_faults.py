"""An HTTP proxy that stands before an S3 store: it passes requests on, counts them, or answers with a fault instead."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Request(NamedTuple):
    """What a fault may be chosen by: method, path with its query, and how many came before it."""

    method: str
    path: str
    number: int


class Answer(NamedTuple):
    """A fault: status and S3's error code."""

    status: int
    code: str


Choose = Callable[[Request], Answer | None]


class HttpProxy:
    """Listens on loopback; `choose` picks what is answered with a fault, `requests` is what came."""

    def __init__(self, port: int, choose: Choose = lambda request: None) -> None:
        self.requests: list[Request] = []
        self.choose = choose
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

            def _any(self) -> None:
                if self.headers.get("Expect"):
                    self.send_response_only(100)
                    self.end_headers()
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with lock:
                    request = Request(self.command, self.path, len(outer.requests))
                    outer.requests.append(request)
                fault = outer.choose(request)
                if fault is not None:
                    text = f"<Error><Code>{fault.code}</Code><Message>a fault of the test's</Message></Error>".encode()
                    self._answer(fault.status, {"Content-Type": "application/xml"}, text)
                    return
                store = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    headers = {name: value for name, value in self.headers.items() if name != "Expect"}
                    store.request(self.command, self.path, body, headers)
                    answer = store.getresponse()
                    length = answer.getheader("Content-Length")
                    found = {name: value for name, value in answer.getheaders() if name not in _OWN}
                    self._answer(answer.status, found, answer.read(), length)
                finally:
                    store.close()

            def _answer(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - http.server's names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


_OWN = {"Content-Length", "Transfer-Encoding", "Connection"}


def first(count: int, answer: Answer, method: str | None = None) -> Choose:
    """A burst: the first so many requests (of a method) are refused, then all are passed on."""
    left = count
    lock = threading.Lock()

    def choose(request: Request) -> Answer | None:
        nonlocal left
        with lock:
            if left > 0 and method in (None, request.method):
                left -= 1
                return answer
        return None

    return choose
