"""The clock that the daemon goes by, and that tells it to stop: the machine's own, or one that a test winds."""

import math
import os
from contextlib import suppress
from datetime import UTC, datetime
from select import POLLIN, poll
from time import monotonic
from typing import Protocol


class Clock(Protocol):
    """The time, and whether to go on."""

    def now(self) -> datetime:
        """What time it is (UTC)."""

    def monotonic(self) -> float:
        """Seconds that nobody sets."""

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass, or fewer where it is told to stop."""

    @property
    def stopped(self) -> bool:
        """Whether the daemon is told to end."""


class WallClock:
    """The machine's clock; `stop` is for a signal's handler."""

    def __init__(self) -> None:
        # No lock: a handler runs in the middle of whatever this very thread does, and would wait for it for ever.
        self._stopped = False
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._poll = poll()
        self._poll.register(self._awake, POLLIN)

    def now(self) -> datetime:
        """What time it is (UTC)."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that nobody sets."""
        return monotonic()

    def wait(self, seconds: float) -> None:
        """Wait, unless it is told to stop."""
        # What `stop` wrote is never read, so that a stop before the wait ends it as well.
        self._poll.poll(math.ceil(seconds * 1000))

    def stop(self) -> None:
        """End the daemon."""
        self._stopped = True
        with suppress(BlockingIOError):  # full: thousands of signals, and one of them is enough
            os.write(self._wake, b"\0")

    @property
    def stopped(self) -> bool:
        """Whether it is to end."""
        return self._stopped
