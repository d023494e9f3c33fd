"""Children: the commands that the daemon runs as processes of their own, so that it stays small and can end them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Protocol

_POLL = 0.02


class Child(Protocol):
    """A command that was started."""

    @property
    def pid(self) -> int:
        """Its process."""

    def poll(self) -> int | None:
        """Its exit code, a signal's number below zero; None while it runs. Waits for nothing."""

    def end(self) -> None:
        """Ask it to end in order."""

    def kill(self) -> None:
        """End it."""

    def output(self) -> bytes:
        """What it wrote to stdout, where that was to be kept."""


class Start(Protocol):
    """Whatever starts `kimai-backup`."""

    def __call__(self, arguments: Sequence[str], *, keep_output: bool) -> Child:
        """With these arguments, its stdout kept or dropped. Raises `OSError`."""


class _Process:
    def __init__(self, arguments: Sequence[str], *, keep_output: bool) -> None:
        # A file, as a pipe would have to be read all the time.
        self._kept: IO[bytes] | None = tempfile.TemporaryFile() if keep_output else None  # noqa: SIM115
        # Tables are for people; a container's output is made of log lines, and its log says the same.
        stdout = subprocess.DEVNULL if self._kept is None else self._kept
        # -P: what lies in the folder that the daemon was started in is no part of us.
        command = [sys.executable, "-P", "-m", "sidecar", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, env=os.environ)

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def end(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def output(self) -> bytes:
        if self._kept is None:
            return b""
        with self._kept as file:
            file.seek(0)
            return file.read()


def start(arguments: Sequence[str], *, keep_output: bool) -> Child:
    """Start `kimai-backup` with these arguments. Its environment is ours, its log goes where ours goes."""
    return _Process(arguments, keep_output=keep_output)


def ended_by(ends: float, child: Child, monotonic: Callable[[], float]) -> bool:
    """Wait for it until that time; whether it ended before. Where not, it is killed."""
    while child.poll() is None:
        if monotonic() < ends:
            time.sleep(_POLL)
            continue
        child.kill()
        for _ in range(50):
            if child.poll() is not None:
                break
            time.sleep(_POLL)
        return False
    return True
