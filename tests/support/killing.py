"""A command that is killed, or made to wait, at a call of one of its own functions, named by `Point`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.cli import DEADLINE, Site, poll

PROGRAM = """
import importlib, os, signal, sys

module, attribute, nth, when, holding, number = sys.argv[1:7]
del sys.argv[1:7]
owner = importlib.import_module(module)
*above, name = attribute.split(".")
for each in above:
    owner = getattr(owner, each)
real = getattr(owner, name)
calls = 0

def dying(*arguments, **named):
    global calls
    counts = holding in str(arguments)
    calls += counts
    if counts and calls == int(nth) and when == "before":
        os.kill(os.getpid(), int(number))
    result = real(*arguments, **named)
    if counts and calls == int(nth) and when == "after":
        os.kill(os.getpid(), int(number))
    return result

setattr(owner, name, dying)
from sidecar.__main__ import main
main()
"""


class Point(NamedTuple):
    """A call: the module where it is made, the function's name there, which call of it, and on which side of it.

    `holding`: only those count whose arguments, as text, hold this.
    """

    module: str
    function: str
    nth: int = 1
    when: str = "before"
    holding: str = ""


def kill_at(site: Site, point: Point, *arguments: str, **settings: str) -> None:
    """Run a command that is killed there; fails where it ended by itself."""
    process = start_to_get(signal.SIGKILL, site, point, *arguments, **settings)
    out, err = process.communicate(timeout=DEADLINE)
    said = (out + err).decode()
    assert process.returncode == -signal.SIGKILL, f"it came to its end, with exit code {process.returncode}: {said}"


@contextmanager
def waiting_at(site: Site, point: Point, *arguments: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a command that waits there while the block runs, and goes on then; `Site.ended` tells how it ended."""
    process = start_to_get(signal.SIGSTOP, site, point, *arguments, **settings)
    try:
        poll(lambda: _is_stopped(process), f"the command comes to {point.function}")
        yield process
    finally:
        process.send_signal(signal.SIGCONT)


def _is_stopped(process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, f"it came to its end, with exit code {process.returncode}"
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def start_to_get(
    number: signal.Signals, site: Site, point: Point, *arguments: str, **settings: str
) -> "subprocess.Popen[bytes]":
    """Start a command that sends itself this signal there."""
    module, function, nth, when, holding = point
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, module, function, str(nth), when, holding, str(int(number)), *arguments],
        env=site.environment | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=site.folder,
    )
