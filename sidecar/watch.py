"""Watching the targets: what lies there is asked by a child now and then, and what was last seen stays."""

import logging
from collections.abc import Callable

from sidecar.children import Child, Start
from sidecar.clock import Clock
from sidecar.standing import Standing

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds from one look to the next, where nothing ran in between."""
DEADLINE = 180.0


class Watch:
    """`keep` keeps what the command `look` printed, for `health`."""

    def __init__(self, start: Start, clock: Clock, standing: Standing, keep: Callable[[bytes], None]) -> None:
        self._start = start
        self._clock = clock
        self._standing = standing
        self._keep = keep
        self._child: tuple[Child, float] | None = None
        self._looked: float | None = None
        self._failed = False
        self._problems: dict[str, str] = {}

    @property
    def child(self) -> Child | None:
        """The look that is under way."""
        return self._child[0] if self._child else None

    @property
    def is_due(self) -> bool:
        """Whether it is time for a look."""
        return self._child is None and (self._looked is None or self._clock.monotonic() - self._looked >= EVERY)

    def look_soon(self) -> None:
        """What lies there is another thing now."""
        self._looked = None

    def begin(self) -> None:
        """Ask, and wait for nothing."""
        self._looked = self._clock.monotonic()
        try:
            self._child = (self._start(["look"], keep_output=True), self._looked)
        except OSError as error:
            self._say_once(f"they can't be asked: {error.strerror}")

    def reap(self) -> None:
        """Take what was seen, where it is there."""
        if self._child is None:
            return
        child, since = self._child
        code = child.poll()
        if code is None and self._clock.monotonic() - since > DEADLINE:
            child.kill()
            self._say_once(f"they did not answer for {DEADLINE:g} s")
            # Its output is of no use, and its end is seen at the next round.
            self._child = (child, float("inf"))
        elif code is not None:
            self._child = None
            if since != float("inf"):
                self._saw(child, code)

    def _saw(self, child: Child, code: int) -> None:
        output = child.output()
        if code != 0:
            self._say_once(f"`look` ended with exit code {code}")
            return
        try:
            look = Standing.read(output)
        except ValueError as error:
            self._say_once(f"`look` said what nobody understands: {error}")
            return
        self._failed = False
        problems = {shelf.target: shelf.problem for shelf in look.shelves if shelf.problem}
        for target, problem in problems.items():
            if target not in self._problems:
                log.warning("target %s: %s", target, problem)
        for target in self._problems.keys() - problems.keys():
            log.info("target %s can be listed again", target)
        self._problems = problems
        self._standing.saw(look)
        self._keep(output)

    def _say_once(self, why: str) -> None:
        self._standing.saw_nothing(why)
        if not self._failed:
            log.warning("what lies on the targets is as it was last seen: %s", why)
        self._failed = True
