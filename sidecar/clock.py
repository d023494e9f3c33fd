"""The clock that the daemon goes by, and that tells it to stop: the machine's own, or one that a test winds."""

from datetime import UTC, datetime
from threading import Event
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
        self._stop = Event()

    def now(self) -> datetime:
        """What time it is (UTC)."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that nobody sets."""
        return monotonic()

    def wait(self, seconds: float) -> None:
        """Wait, unless it is told to stop."""
        self._stop.wait(seconds)

    def stop(self) -> None:
        """End the daemon."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it is to end."""
        return self._stop.is_set()
