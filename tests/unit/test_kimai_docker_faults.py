"""What becomes of the engine's refusals: a path that isn't there is none, a container that went is a fault."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sidecar.errors import ConfigurationError, Unreachable
from sidecar.kimai.containerfiles import NotThere
from sidecar.kimai.docker import _translated, connect


class Handler(BaseHTTPRequestHandler):
    """An engine that knows its version, and no container."""

    def do_GET(self) -> None:
        is_version = self.path == "/version"
        said = {"ApiVersion": "1.41"} if is_version else {"message": "No such container: gone"}
        body = json.dumps(said).encode()
        self.send_response(200 if is_version else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_path_and_a_container_that_are_not_there_are_two_things() -> None:
    assert isinstance(_translated("read /x", 404, "Could not find the file /x in container app"), NotThere)
    assert isinstance(_translated("inspect container x", 404, "No such container: x"), NotThere)
    for text in ("No such container: 0123", "no container with name or ID 0123 found"):
        gone = _translated("read /x", 404, text)
        assert isinstance(gone, Unreachable)
        assert not isinstance(gone, NotThere)


def test_a_container_that_went_while_its_files_were_read_is_a_fault(engine_url: str) -> None:
    engine = connect(engine_url)
    with pytest.raises(Unreachable, match="removed or made anew") as caught, engine.fetch("gone", "/opt/kimai/.env"):
        pass
    assert not isinstance(caught.value, NotThere)


def test_a_proxy_for_the_web_is_none_for_the_engine(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(NotThere):
        connect(engine_url).inspect("gone")


def test_an_address_that_can_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="DOCKER_HOST"):
        connect("docker-proxy:2375")
    with pytest.raises(Unreachable, match="does not answer"):
        connect("tcp://127.0.0.1:9")
