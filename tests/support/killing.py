"""A command that is killed in the middle: SIGKILL at a call of one of its own functions, named by `Point`."""

import subprocess
import sys
from typing import NamedTuple

from tests.support.cli import DEADLINE, Site

_PROGRAM = """
import importlib, os, signal, sys

module, attribute, nth, when, holding = sys.argv[1:6]
del sys.argv[1:6]
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
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **named)
    if counts and calls == int(nth) and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
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
    module, function, nth, when, holding = point
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, module, function, str(nth), when, holding, *arguments],
        env=site.environment | settings,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
        cwd=site.folder,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == -9, f"it came to its end, with exit code {done.returncode}: {said}"
