"""The Docker engine: which containers there are, commands run in one, files in and out of one, its stop and start."""

import json
import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, cast

import docker
import requests
from docker.errors import APIError, DockerException
from urllib3.exceptions import HTTPError

from sidecar.errors import ConfigurationError, Unreachable
from sidecar.kimai.console import OUTPUT_LIMIT, Outcome
from sidecar.kimai.containerfiles import NotThere
from sidecar.kimai.project import Container, Listed, read_container, read_listed

CALL_DEADLINE = 60
"""Seconds for a call that only asks, and between two pieces of a stream."""

UNPACK_DEADLINE = 600.0
"""Seconds that the engine may take to answer once it has been sent what to unpack."""

STOP_GRACE = 30
"""Seconds that an app gets to end by itself."""

KILL_GRACE = 10.0
"""Seconds that a command may take to end after its deadline, at which `timeout` ends it in the container."""

EXIT_GRACE = 10.0
"""Seconds that the engine may take to tell a command's exit code after the end of its output."""

_CHUNK = 1 << 16
_POLL = 0.05
_TIMED_OUT = (124, 137)
_STDERR = 2
_MESSAGE_LIMIT = 4096
_NO_CONTAINER = re.compile(r"no (?:such )?container", re.IGNORECASE)


class _Direct(docker.APIClient):
    """A client that never takes the way of HTTP_PROXY, from its first question on: that leads to the web."""

    @property
    def trust_env(self) -> bool:
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        pass


class Engine:
    """A Docker engine, or a proxy in front of one. Every call has a deadline and raises `Unreachable`."""

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._client = _Direct(base_url=url, version="auto", timeout=CALL_DEADLINE)
        except (DockerException, requests.RequestException) as error:
            raise Unreachable(
                f"Docker at {url} does not answer: {_said(error)}",
                mend="Set DOCKER_HOST to the proxy in front of Docker's socket, as compose.example.yml does.",
            ) from error

    def containers(self) -> list[Listed]:
        """All containers, stopped ones too."""
        with self._faults("list containers"):
            return [read_listed(each) for each in self._client.containers(all=True)]

    def inspect(self, container: str) -> Container:
        """One container, by its name or ID. Raises `NotThere`."""
        with self._faults(f"inspect container {container}"):
            return read_container(self._client.inspect_container(container))

    def execute(
        self,
        container: str,
        command: Sequence[str],
        *,
        deadline: float,
        user: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run a command in a running container to its end; what it printed is kept up to `OUTPUT_LIMIT` a stream.

        After `deadline` seconds `timeout` (coreutils, busybox) ends it there, and `Unreachable` is raised.
        """
        label = " ".join(command)
        guarded = ["timeout", "-k", "5", str(max(1, round(deadline))), *command]
        with self._faults(f"run {label}"):
            created = self._client.exec_create(container, guarded, user=user, environment=dict(environment or {}))
            # Without the upgrade that the SDK asks for, the output is a plain answer, readable with a deadline.
            patience = deadline + KILL_GRACE
            with self._start(created["Id"], patience) as response:
                found = _split(response.raw, time.monotonic() + patience)
            code = self._exit_code(created["Id"])
        if found is None or code in _TIMED_OUT or code is None:
            raise Unreachable(
                f"{label} did not end within {deadline:g} seconds and was killed",
                mend="Run it by hand in Kimai's container to see what it waits for.",
            )
        stdout, stderr = found
        return Outcome(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    @contextmanager
    def fetch(self, container: str, path: str) -> "Iterator[IO[bytes]]":
        """What lies at a path in a container, running or not, as a tar stream. Raises `NotThere`."""
        url = f"{self._base}/containers/{container}/archive"
        headers = {"Accept-Encoding": "identity"}
        with (
            self._faults(f"read {path}"),
            self._client.get(url, params=_path(path), headers=headers, stream=True, timeout=CALL_DEADLINE) as response,
        ):
            _check(response)
            yield cast("IO[bytes]", _Answered(response.raw, lambda: self._faults(f"read {path}")))

    def store(self, container: str, path: str, tar: IO[bytes]) -> None:
        """Unpack a tar into a folder of a container, running or not; owners and modes are the tar's."""
        url = f"{self._base}/containers/{container}/archive"
        with (
            self._faults(f"write to {path}"),
            self._client.put(url, params=_path(path), data=tar, timeout=UNPACK_DEADLINE) as response,
        ):
            _check(response)

    def stop(self, container: str) -> None:
        """Stop a container; one that is stopped already stays so."""
        with self._faults("stop Kimai's container"):
            self._client.stop(container, timeout=STOP_GRACE)

    def start(self, container: str) -> None:
        """Start a container; one that runs already goes on."""
        with self._faults("start Kimai's container"):
            self._client.start(container)

    @property
    def _base(self) -> str:
        return f"{self._client.base_url}/v{self._client.api_version}"

    def _exit_code(self, execution: str) -> int | None:
        """A command's exit code; the engine may know it a moment later than its output's end."""
        ends = time.monotonic() + EXIT_GRACE
        while (found := self._client.exec_inspect(execution))["Running"] and time.monotonic() < ends:
            time.sleep(_POLL)
        code: int | None = found["ExitCode"]
        return code

    def _start(self, execution: str, patience: float) -> requests.Response:
        url = f"{self._base}/exec/{execution}/start"
        response: requests.Response = self._client.post(
            url, json={"Detach": False, "Tty": False}, stream=True, timeout=(CALL_DEADLINE, patience)
        )
        _check(response)
        return response

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        try:
            yield
        except APIError as error:
            raise _translated(doing, error.status_code, _said(error)) from error
        except _Answer as error:
            raise _translated(doing, error.status, str(error)) from error
        except (DockerException, requests.RequestException, HTTPError, ConnectionError) as error:
            raise Unreachable(f"Docker at {self._url} can't {doing}: {_said(error)}") from error


class _Answer(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Answered:
    """An answer's content as a file; a fault of the network while it is read is told wherever that happens."""

    def __init__(self, raw: Any, faults: Callable[[], AbstractContextManager[None]]) -> None:
        self._raw = raw
        self._faults = faults

    def read(self, size: int = -1) -> bytes:
        with self._faults():
            return cast("bytes", self._raw.read(size))


def _path(path: str) -> dict[str, bytes]:
    """The question for a path, whose bytes need not be UTF-8."""
    return {"path": os.fsencode(path)}


def _check(response: requests.Response) -> None:
    if response.status_code >= requests.codes.bad_request:
        text = response.raw.read(_MESSAGE_LIMIT, decode_content=True).decode(errors="replace")
        try:
            text = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            text = response.reason or "no reason given"
        response.close()
        raise _Answer(response.status_code, text)


def _translated(doing: str, status: int | None, text: str) -> Exception:
    if status == requests.codes.not_found and _NO_CONTAINER.search(text) and not doing.startswith("inspect"):
        # A path that isn't there is no fault; that the container went, or was made anew, is one.
        return Unreachable(
            f"Docker can't {doing}: {text}", mend="Kimai's container was removed or made anew: try again."
        )
    if status == requests.codes.not_found:
        return NotThere(text)
    if status in (requests.codes.forbidden, requests.codes.unauthorized, requests.codes.method_not_allowed):
        return Unreachable(
            # A proxy's words are a page of HTML.
            f"Docker, or the proxy in front of it, refuses to {doing} ({status if '<' in text else text})",
            mend="Let the proxy allow it, as the one in compose.example.yml does.",
        )
    return Unreachable(f"Docker can't {doing}: {text}")


def _said(error: BaseException) -> str:
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation)
    return " ".join(str(error).split())[:300] or type(error).__name__


def _split(stream: Any, ends: float) -> tuple[bytes, bytes] | None:
    """Read an exec's output to its end: frames of 8 bytes (stream, three zeros, length in 4 bytes) and content.

    None where it goes on after `ends`, a time of `time.monotonic`.
    """
    kept = {1: bytearray(), _STDERR: bytearray()}
    while header := _exactly(stream, 8):
        if time.monotonic() > ends:
            return None
        kind, left = struct.unpack(">BxxxL", header)
        into = kept.get(kind, kept[_STDERR])
        while left:
            chunk = stream.read(min(left, _CHUNK))
            if not chunk:
                raise ConnectionError("the output was cut off")
            left -= len(chunk)
            into += chunk[: max(0, OUTPUT_LIMIT - len(into))]
            if time.monotonic() > ends:
                return None
    return bytes(kept[1]), bytes(kept[_STDERR])


def _exactly(stream: Any, size: int) -> bytes:
    found = b""
    while len(found) < size and (chunk := stream.read(size - len(found))):
        found += chunk
    if found and len(found) < size:
        raise ConnectionError("the output was cut off")
    return found


def connect(url: str) -> Engine:
    """The engine at a DOCKER_HOST. Raises `ConfigurationError` for a URL that can't be one."""
    if not url.startswith(("unix://", "tcp://", "http://", "https://")):
        raise ConfigurationError(f"DOCKER_HOST is {url!r}: must begin with unix:// or tcp://")
    return Engine(url)
