"""What the proxy in front of the Docker socket lets through, and what it refuses, asked through it alone.

Nothing that must be refused is ever sent to the socket itself: there it would do the damage that it is tested for.
"""

import gc
import io
import json
import socket
import tarfile
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import docker
import pytest

from sidecar.errors import Unreachable
from sidecar.kimai.docker import Engine, connect
from tests.support import docker as images
from tests.support.product import Project

# Whoever comes first builds the images.
pytestmark = pytest.mark.timeout(900)

PORT = 2375
FORBIDDEN = b"Request forbidden by administrative rules"
"""What haproxy says; Docker's own refusals are JSON."""


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def is_refused(self) -> bool:
        """By the proxy, not by Docker."""
        return self.status == 403 and FORBIDDEN in self.body


class Proxy(NamedTuple):
    """One of the proxy's two doors, and the ID of a container to try things on."""

    address: str
    victim: str

    def raw(self, data: bytes, *later: bytes) -> Answer:
        """Send bytes as they are, later ones after a moment; read the answer's status and the start of its body."""
        with socket.create_connection((self.address, PORT), timeout=20) as connection:
            connection.sendall(data)
            for each in later:
                time.sleep(0.2)
                with suppress(ConnectionError):
                    connection.sendall(each)
            received = b""
            with suppress(ConnectionError):
                while b"\r\n\r\n" not in received or FORBIDDEN not in received:
                    if not (chunk := connection.recv(65536)):
                        break
                    received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        return Answer(int(head.split(b" ", 2)[1]), body)

    def ask(self, method: str, path: str, body: bytes = b"", headers: Sequence[str] = ()) -> Answer:
        """One request, written by hand: a client library would tidy up what must be tried."""
        length = [f"Content-Length: {len(body)}"] if body or method == "POST" else []
        lines = [f"{method} {path} HTTP/1.1", "Host: docker", "Connection: close", *length, *headers]
        return self.raw("\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body)

    def create(self, body: bytes, headers: Sequence[str] = ()) -> Answer:
        return self.ask("POST", f"/v1.41/containers/{self.victim}/exec", body, headers)

    def state(self) -> Any:
        """What any of the refused things would change of the container; asked of the engine, as it only reads."""
        found = json.loads(images.docker("inspect", self.victim))[0]
        return found["Id"], found["State"], found["ExecIDs"], found["Name"], found["HostConfig"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    found = Project.make(tmp_path_factory.mktemp("proxy"), {"docker-proxy": images.haproxy()})
    try:
        found.up("docker-proxy")
        yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def victim() -> Iterator[str]:
    name = f"kbtest-victim-{uuid.uuid4().hex[:8]}"
    # PID 1 of its own leaves at SIGTERM: so a stop is quick.
    yield images.docker("run", "--detach", "--init", "--name", name, images.base(), "sleep", "1000").strip()
    images.docker("rm", "--force", name)


@pytest.fixture
def backup(project: Project, victim: str) -> Proxy:
    return Proxy(project.address("docker-proxy", "docker-for-backup"), victim)


@pytest.fixture
def restore(project: Project, victim: str) -> Proxy:
    return Proxy(project.address("docker-proxy", "docker-for-restore"), victim)


@pytest.fixture(params=["backup", "restore"])
def either(request: pytest.FixtureRequest) -> Proxy:
    found: Proxy = request.getfixturevalue(request.param)
    return found


@contextmanager
def sdk(proxy: Proxy) -> Iterator[docker.DockerClient]:
    found = docker.DockerClient(base_url=f"tcp://{proxy.address}:{PORT}", timeout=30)
    try:
        yield found
    finally:
        found.close()
        # The SDK leaves a command's connection to the garbage collector.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@contextmanager
def engine(proxy: Proxy) -> Iterator[Engine]:
    """The product's own way to Docker."""
    found = connect(f"tcp://{proxy.address}:{PORT}")
    try:
        yield found
    finally:
        found._client.close()


# ── What passes ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sdk_pings_lists_and_inspects(either: Proxy) -> None:
    with sdk(either) as client:
        assert client.ping()
        assert client.version()["ApiVersion"]
        assert either.victim in [each["Id"] for each in client.api.containers()]
        assert either.victim in [each.id for each in client.containers.list(ignore_removed=True)]
        assert client.containers.get(either.victim).status == "running"


def test_the_sdk_runs_a_command(either: Proxy) -> None:
    with sdk(either) as client:
        container = client.containers.get(either.victim)
        code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 7"], demux=True)
    assert (code, out, err) == (7, b"out\n", b"err\n")


def test_a_command_reads_its_standard_input(either: Proxy) -> None:
    with sdk(either) as client:
        created = client.api.exec_create(either.victim, ["sh", "-c", "read line; echo got $line"], stdin=True)
        stream: Any = client.api.exec_start(created["Id"], socket=True)
        with stream:
            stream._sock.sendall(b"it\n")
            assert stream.read().endswith(b"got it\n")
            stream._sock.close()


def test_a_long_output_comes_whole(either: Proxy) -> None:
    with sdk(either) as client:
        created = client.api.exec_create(either.victim, ["head", "--bytes=50000000", "/dev/zero"])
        assert sum(map(len, client.api.exec_start(created["Id"], stream=True))) == 50_000_000


def test_a_command_that_is_expressly_not_privileged_runs(either: Proxy) -> None:
    for spelling in (b'"Privileged":false', b'"Privileged": false', b'"Privileged":  false'):
        assert either.create(b'{"Cmd":["true"],%s}' % spelling).status == 201


def test_files_come_out(either: Proxy) -> None:
    with sdk(either) as client:
        stream, status = client.containers.get(either.victim).get_archive("/etc/debian_version")
        packed = io.BytesIO(b"".join(stream))
    with tarfile.open(fileobj=packed) as tar:
        assert tar.getnames() == ["debian_version"]
    assert status is not None
    assert status["name"] == "debian_version"


def test_paths_with_and_without_a_version_pass(either: Proxy) -> None:
    for prefix in ("", "/v1.41", "/v1.24", "/v1.30"):
        assert either.ask("GET", f"{prefix}/containers/{either.victim}/json").status == 200


def test_the_products_own_engine_reads_through_either(either: Proxy) -> None:
    with engine(either) as found:
        assert found.execute(either.victim, ["sh", "-c", "echo hello"], deadline=20).stdout == "hello\n"
        assert found.inspect(either.victim).is_running
        assert either.victim in [each.id for each in found.containers()]
        with found.fetch(either.victim, "/etc/debian_version") as stream:
            assert len(stream.read()) > 512


def test_restore_writes_files_and_stops_and_starts(restore: Proxy) -> None:
    packed = io.BytesIO()
    content = b"x" * 5_000_000
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("written")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    with sdk(restore) as client, engine(restore) as own:
        container = client.containers.get(restore.victim)
        assert container.put_archive("/srv", packed.getvalue())
        assert restore.ask("HEAD", f"/containers/{restore.victim}/archive?path=/srv/written").status == 200
        own.store(restore.victim, "/opt", packed)
        assert container.exec_run(["cmp", "/srv/written", "/opt/written"]).exit_code == 0
        container.stop(timeout=10)
        container.reload()
        assert container.status == "exited"
        own.start(restore.victim)
        container.reload()
        assert container.status == "running"


def test_a_container_is_looked_at_by_its_name_too(either: Proxy) -> None:
    name = images.docker("inspect", "--format", "{{.Name}}", either.victim).strip().lstrip("/")
    with engine(either) as found:
        assert found.inspect(name).id == either.victim


# ── What doesn't: privileged commands ────────────────────────────────────────────────────────────────────────

PRIVILEGED = {
    "plain": b'{"Cmd":["id"],"Privileged":true}',
    "spaced": b'{"Cmd":["id"],"Privileged" : true}',
    "lower_case": b'{"Cmd":["id"],"privileged": true}',
    "mixed_case": b'{"Cmd":["id"],"pRIVILEGEd":true}',
    "tabs_and_lines": b'{"Cmd":["id"],"Privileged"\t\r\n:\t\r\n true}',
    "much_space": b'{"Cmd":["id"],"Privileged"' + b" " * 4000 + b":" + b" " * 4000 + b"true}",
    "escaped_first_letter": b'{"Cmd":["id"],"\\u0050rivileged":true}',
    "escaped_last_letter": b'{"Cmd":["id"],"Privilege\\u0064":true}',
    "escaped_in_capitals": b'{"Cmd":["id"],"privi\\u004Ceged":true}',
    "escaped_whole": b'{"Cmd":["id"],"' + b"".join(b"\\u%04x" % each for each in b"Privileged") + b'":true}',
    "behind_padding": b'{"pad":"' + b"x" * 70_000 + b'","Cmd":["id"],"Privileged":true}',
    "behind_spaces": b" " * 70_000 + b'{"Cmd":["id"],"Privileged":true}',
    "behind_padding_of_8000": b'{"pad":"' + b"x" * 8_000 + b'","Cmd":["id"],"Privileged":true}',
    "twice_false_then_true": b'{"Cmd":["id"],"Privileged":false,"Privileged":true}',
    "twice_true_then_false": b'{"Cmd":["id"],"Privileged":true,"Privileged":false}',
    "twice_in_two_cases": b'{"Cmd":["id"],"Privileged":false,"privileged":true}',
    "false_within_a_value": b'{"Cmd":["id","\\"Privileged\\":false"],"Privileged":true}',
    "behind_another_document": b'{"Cmd":["id"]}{"Privileged":true}',
    "after_a_byte_order_mark": b'\xef\xbb\xbf{"Cmd":["id"],"Privileged":true}',
    "after_bytes_that_are_no_text": b'{"\xff\xfe\x80":1,"Cmd":["id"],"Privileged":true}',
    "after_a_zero": b'{"\0":1,"Cmd":["id"],"Privileged":true}',
    "as_null": b'{"Cmd":["id"],"Privileged":null}',
    "as_a_number": b'{"Cmd":["id"],"Privileged":1}',
    "as_text": b'{"Cmd":["id"],"Privileged":"true"}',
}


@pytest.mark.parametrize("body", PRIVILEGED.values(), ids=PRIVILEGED.keys())
def test_a_privileged_command_is_refused_however_it_is_written(either: Proxy, body: bytes) -> None:
    before = either.state()
    assert either.create(body).is_refused
    assert either.state() == before


def test_it_is_refused_behind_large_headers(either: Proxy) -> None:
    before = either.state()
    for size in (7_000, 15_000, 22_000, 22_800, 23_500, 24_500):
        answer = either.create(PRIVILEGED["behind_padding_of_8000"], [f"X-Padding: {'x' * size}"])
        assert answer.status in (400, 403, 431), size
    assert either.create(PRIVILEGED["behind_padding_of_8000"], [f"X-{each}: x" for each in range(80)]).is_refused
    assert either.state() == before


def head(proxy: Proxy, *lines: str, version: str = "1.1") -> bytes:
    first = f"POST /v1.41/containers/{proxy.victim}/exec HTTP/{version}"
    return "\r\n".join([first, "Host: docker", "Content-Type: application/json", *lines, "", ""]).encode()


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("body", [PRIVILEGED["plain"], b'{"Cmd":["id"]}'], ids=["privileged", "harmless"])
def test_a_body_of_unknown_length_is_refused(either: Proxy, body: bytes) -> None:
    before = either.state()
    answers = [
        either.raw(head(either, "Transfer-Encoding: chunked") + chunked(body)),
        either.raw(head(either, "Transfer-Encoding: Chunked") + chunked(body, 1)),
        either.raw(head(either, "Transfer-Encoding: chunked", "Content-Length: 2") + chunked(body)),
        either.raw(head(either, "Content-Length: 2", "Transfer-Encoding: chunked") + chunked(body)),
        either.raw(head(either) + body),
        either.raw(head(either, version="1.0") + body),
    ]
    assert [answer.is_refused for answer in answers] == [True] * len(answers), answers
    for line in ("Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity"):
        assert either.raw(head(either, line) + chunked(body)).status in (400, 403, 501), line
    # A line that is folded joins the one before it, so this one has a length: what counts is what Docker gets.
    folded = either.raw(head(either, "Transfer-Encoding:", " chunked", "Connection: close") + chunked(body))
    assert folded.status in (400, 403)
    assert either.state() == before


def test_a_body_that_comes_in_pieces_is_seen_whole(either: Proxy) -> None:
    before = either.state()
    body = PRIVILEGED["plain"]
    length = f"Content-Length: {len(body)}"
    assert either.raw(head(either, length), body[:20], body[20:25], body[25:]).is_refused
    assert either.raw(head(either, length, "Expect: 100-continue"), body[:20], body[20:]).status in (100, 403)
    assert either.state() == before


def test_lengths_that_disagree_are_refused(either: Proxy) -> None:
    before = either.state()
    body = PRIVILEGED["plain"]
    for lines in (
        ["Content-Length: 2", f"Content-Length: {len(body)}"],
        [f"Content-Length: 2, {len(body)}"],
        [f"Content-Length: +{len(body)}"],
        ["Content-Length: -1"],
        [f"Content-Length : {len(body)}"],
    ):
        assert either.raw(head(either, *lines) + body).status in (400, 403), lines
    assert either.state() == before


def test_a_second_request_behind_the_first_is_checked_as_well(either: Proxy) -> None:
    before = either.state()
    first = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
    second = head(either, f"Content-Length: {len(PRIVILEGED['plain'])}", "Connection: close") + PRIVILEGED["plain"]
    answer = either.raw(first + second)
    assert answer.status == 200
    assert answer.body.count(b" 403 ") >= 1
    assert FORBIDDEN in answer.body
    assert either.state() == before


def test_no_other_protocol_gets_in(either: Proxy) -> None:
    assert either.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0").status == 400
    for protocol in ("websocket", "h2c, tcp", "tcp, h2c"):
        headers = ["Connection: Upgrade", f"Upgrade: {protocol}", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        answer = either.raw(
            "\r\n".join(["GET /_ping HTTP/1.1", "Host: docker", *headers, "", ""]).encode(),
            b"GET /images/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n",
        )
        assert answer.status == 403, protocol
        assert b"RepoTags" not in answer.body


# ── What doesn't: everything else ────────────────────────────────────────────────────────────────────────────

NEVER = [
    ("POST", "/containers/create?name={new}"),
    ("POST", "/v1.41/containers/create?name={new}"),
    ("POST", "/containers/{victim}/kill"),
    ("POST", "/v1.41/containers/{victim}/kill?signal=KILL"),
    ("POST", "/containers/{victim}/restart"),
    ("POST", "/containers/{victim}/pause"),
    ("POST", "/containers/{victim}/rename?name={new}"),
    ("POST", "/containers/{victim}/update"),
    ("POST", "/containers/{victim}/attach?stream=1&stdin=1"),
    ("GET", "/containers/{victim}/attach/ws"),
    ("POST", "/containers/{victim}/resize"),
    ("POST", "/containers/{victim}/wait"),
    ("POST", "/containers/prune"),
    ("DELETE", "/containers/{victim}?force=1"),
    ("GET", "/containers/{victim}/export"),
    ("GET", "/containers/{victim}/logs?stdout=1"),
    ("GET", "/containers/{victim}/top"),
    ("POST", "/commit?container={victim}&repo={new}"),
    ("GET", "/images/json"),
    ("GET", "/v1.41/images/json"),
    ("POST", "/images/create?fromImage={new}"),
    ("POST", "/images/load"),
    ("POST", "/build?t={new}"),
    ("DELETE", "/images/{new}"),
    ("POST", "/volumes/create"),
    ("GET", "/volumes"),
    ("POST", "/networks/create"),
    ("GET", "/networks"),
    ("GET", "/info"),
    ("GET", "/events"),
    ("GET", "/system/df"),
    ("GET", "/secrets"),
    ("GET", "/configs"),
    ("GET", "/plugins"),
    ("GET", "/swarm"),
    ("POST", "/swarm/init"),
    ("POST", "/session"),
    ("POST", "/grpc"),
    ("POST", "/auth"),
    ("GET", "/"),
]

TRICKS = [
    ("GET", "/containers/../images/json"),
    ("GET", "/containers/json/../../images/json"),
    ("GET", "/containers/{victim}/json/../../../images/json"),
    ("GET", "/_ping/../images/json"),
    ("GET", "/v1.41/../images/json"),
    ("GET", "/containers/./json"),
    ("GET", "/containers/../json"),
    ("GET", "//images/json"),
    ("GET", "//containers/json"),
    ("GET", "/containers//json"),
    ("GET", "/containers/{victim}//json"),
    ("GET", "/containers/json/"),
    ("GET", "/images%2fjson"),
    ("GET", "/%69mages/json"),
    ("GET", "/containers/%2e%2e/images/json"),
    ("GET", "/containers/%2e%2e/json"),
    ("GET", "/containers/..%2fimages%2fjson"),
    ("GET", "/containers/%252e%252e/json"),
    ("GET", "/containers/{victim}%2fjson"),
    ("GET", "/containers/{victim}%00/json"),
    ("GET", "/images/json?/containers/json"),
    ("GET", "/images/json?x=/_ping"),
    ("GET", "/images/json;/containers/json"),
    ("GET", "/containers/{victim}/json;x"),
    ("GET", "/containers/{victim}\\json"),
    ("GET", "/v1.41/v1.41/containers/json"),
    ("GET", "/v2/containers/json"),
    ("GET", "/v1.4100/containers/json"),
    ("GET", "/v1.23/containers/json"),
    ("GET", "/v1.9/containers/json"),
    ("GET", "/V1.41/containers/json"),
    ("GET", "/CONTAINERS/JSON"),
    ("GET", "http://docker/images/json"),
    ("POST", "/containers/{victim}/exec/"),
    ("POST", "/containers/{victim}/kill?/exec"),
    ("POST", "/containers/{victim}/kill?x=/start"),
    ("POST", "/containers/{victim}/exec%3f"),
    ("POST", "/containers/{victim}/%65xec"),
    ("POST", "/containers/{victim}/../{victim}/exec"),
    ("POST", "/exec/../containers/{victim}/kill"),
    ("POST", "/exec/x/start"),
    ("GET", "/exec/../images/json"),
    ("PATCH", "/containers/json"),
    ("OPTIONS", "/containers/json"),
    ("TRACE", "/_ping"),
    ("get", "/containers/json"),
    ("POST", "/containers/json"),
    ("POST", "/_ping"),
    ("PUT", "/containers/{victim}/exec"),
    ("POST", "/containers/{victim}/archive?path=/"),
    ("DELETE", "/containers/{victim}/archive?path=/"),
]


@pytest.mark.parametrize(("method", "path"), NEVER + TRICKS, ids=lambda each: each.replace("/", "-"))
def test_it_is_refused(either: Proxy, method: str, path: str) -> None:
    new = f"kbtest-new-{uuid.uuid4().hex[:8]}"
    before = either.state()
    body = json.dumps({"Image": images.BASE, "Name": new, "HostConfig": {"Privileged": True}}).encode()
    answer = either.ask(method, path.format(victim=either.victim, new=new), body if method == "POST" else b"")
    assert answer.is_refused, answer
    assert either.state() == before
    assert not images.docker("ps", "--all", "--quiet", "--filter", f"name={new}")
    for kind in ("volume", "network"):
        assert not images.docker(kind, "ls", "--quiet", "--filter", f"name={new}")
    assert images.image_id(new) is None


@pytest.mark.parametrize(
    "line", ["GET /containers/json#/../../images HTTP/1.1", "GET * HTTP/1.1", "CONNECT docker HTTP/1.1"]
)
def test_what_is_no_request_is_answered_by_the_proxy(either: Proxy, line: str) -> None:
    answer = either.raw(f"{line}\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == 400
    assert b"Your browser sent an invalid request" in answer.body


def test_containers_are_named_by_their_whole_id_alone(restore: Proxy) -> None:
    before = restore.state()
    name = images.docker("inspect", "--format", "{{.Name}}", restore.victim).strip().lstrip("/")
    for reference in (name, restore.victim[:12], restore.victim[:63], restore.victim.upper()):
        for method, what in (
            ("POST", "exec"),
            ("POST", "stop"),
            ("POST", "start"),
            ("GET", "archive"),
            ("PUT", "archive"),
        ):
            body = b'{"Cmd":["id"]}' if what == "exec" else b""
            assert restore.ask(method, f"/containers/{reference}/{what}", body).is_refused, (reference, what)
    assert restore.state() == before


def test_nothing_is_done_to_the_proxy_itself(project: Project, either: Proxy) -> None:
    own = Proxy(either.address, project.container("docker-proxy"))
    before = own.state()
    for prefix in ("", "/v1.41"):
        place = f"{prefix}/containers/{own.victim}"
        assert own.ask("POST", f"{place}/exec", b'{"Cmd":["id"]}').is_refused
        assert own.ask("GET", f"{place}/archive?path=/etc/hostname").is_refused
        assert own.ask("PUT", f"{place}/archive?path=/usr/local/etc/haproxy", b"x").is_refused
        assert own.ask("HEAD", f"{place}/archive?path=/etc/hostname").status == 403
        assert own.ask("POST", f"{place}/stop").is_refused
        assert own.ask("POST", f"{place}/start").is_refused
    assert own.ask("GET", f"/containers/{own.victim}/json").status == 200
    assert own.state() == before


@pytest.fixture
def stopped(restore: Proxy) -> Iterator[Proxy]:
    assert restore.ask("POST", f"/containers/{restore.victim}/stop").status == 204
    yield restore
    images.docker("start", restore.victim)


@pytest.mark.parametrize("version", ["", "/v1.41", "/v1.24", "/v1.23", "/v1.18", "/v1.2", "/v1.023", "/v1"])
def test_a_start_cannot_bring_rights_with_it(stopped: Proxy, version: str) -> None:
    before = stopped.state()
    path = f"{version}/containers/{stopped.victim}/start"
    body = json.dumps({"Privileged": True, "Binds": ["/:/host"]}).encode()
    assert stopped.ask("POST", path, body).is_refused
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: docker",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        "",
        "",
    ]
    assert stopped.raw("\r\n".join(lines).encode() + chunked(body)).is_refused
    assert stopped.state() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/{victim}/stop"),
        ("POST", "/v1.41/containers/{victim}/stop?t=0"),
        ("POST", "/containers/{victim}/start"),
        ("PUT", "/containers/{victim}/archive?path=/srv"),
        ("PUT", "/v1.41/containers/{victim}/archive?path=%2Fsrv"),
    ],
)
def test_backup_may_neither_stop_nor_start_nor_write(backup: Proxy, method: str, path: str) -> None:
    before = backup.state()
    assert backup.ask(method, path.format(victim=backup.victim), b"x" if method == "PUT" else b"").is_refused
    assert backup.state() == before


def test_backup_may_not_ask_for_a_files_status(backup: Proxy) -> None:
    assert backup.ask("HEAD", f"/containers/{backup.victim}/archive?path=/etc").status == 403


def test_the_products_own_engine_names_the_proxy_as_what_refuses(backup: Proxy) -> None:
    before = backup.state()
    with engine(backup) as found:
        with pytest.raises(Unreachable, match="the proxy in front of it, refuses"):
            found.stop(backup.victim)
        with pytest.raises(Unreachable, match="the proxy in front of it, refuses"):
            found.start(backup.victim)
        with pytest.raises(Unreachable, match="the proxy in front of it, refuses"):
            found.store(backup.victim, "/srv", io.BytesIO(b"\0" * 10240))
    assert backup.state() == before


def test_what_was_refused_is_in_the_log(project: Project, backup: Proxy) -> None:
    path = f"/images/{uuid.uuid4().hex}/json"
    assert backup.ask("GET", path).is_refused
    assert backup.ask("GET", "/version").status == 200
    said = project.compose("logs", "docker-proxy").stdout
    assert f"GET {path} " in said
    assert "GET /version" not in said


def test_from_the_network_of_backup_nobody_reaches_the_door_of_restore(project: Project, restore: Proxy) -> None:
    network = f"{project.name}_docker-for-backup"

    def opens(place: str) -> bool:
        try:
            images.docker(
                "run",
                "--rm",
                "--network",
                network,
                images.BASE,
                "timeout",
                "5",
                "bash",
                "-c",
                f"</dev/tcp/{place}/{PORT}",
            )
        except images.DockerError:
            return False
        return True

    assert opens("docker-for-backup")
    assert not opens("docker-for-restore")
    assert not opens(restore.address)
