"""How the daemon stands: what page and metrics show, put together from what it last saw, for other threads to ask."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import msgspec

from sidecar import __version__, health
from sidecar.history import History
from sidecar.retention import Policy
from sidecar.status import Look, Next, Status

BLIND = timedelta(minutes=30)
"""So old may the last look at the targets be: it should be ten minutes, and one that hangs is given up after three."""


@dataclass(frozen=True)
class Instance:
    """Whose status it is, and how long backups are kept on each of its targets."""

    name: str
    tz: tzinfo
    policies: dict[str, Policy]


class Standing:
    """What the daemon, begun at `began`, knows now. Any thread may ask; that costs a few small files at the most."""

    def __init__(self, instance: Instance, history: History, job: health.Job, began: datetime) -> None:
        self._instance = instance
        self._history = history
        self._job = job
        self._lock = threading.Lock()
        self._began = began
        self._look: Look | None = None
        self._why_blind = ""
        self._nexts: tuple[Next, ...] = ()

    def saw(self, look: Look) -> None:
        """What lies on the targets now."""
        self._job.since.saw([shelf.target for shelf in look.shelves], look.taken_at)
        with self._lock:
            self._look = look
            self._why_blind = ""

    def saw_nothing(self, why: str) -> None:
        """A look at the targets failed: what was last seen grows old."""
        with self._lock:
            self._why_blind = why

    def plans(self, nexts: Sequence[Next]) -> None:
        """What comes next now."""
        with self._lock:
            self._nexts = tuple(nexts)

    def status(self, now: datetime) -> Status:
        """Everything, with the problems that health sees in it."""
        with self._lock:
            look, nexts, why = self._look, self._nexts, self._why_blind
        facts = health.gather(self._job, look, now)
        running = list(facts.running)
        return Status(
            instance=self._instance.name,
            version=__version__,
            now=now,
            tz=self._instance.tz,
            problems=[
                *self._blindness(look, why, now),
                *health.judge(facts, now),
                *health.state_problems(self._job.state),
            ],
            nexts=nexts,
            running=running[-1] if running else None,
            look=look,
            runs=list(facts.runs),
            log=self._history.log_of(facts.runs[-1].id) if facts.runs else (),
            policies=self._instance.policies,
        )

    def _blindness(self, look: Look | None, why: str, now: datetime) -> list[str]:
        """Who saw nothing for long can't say that all is well. A clock that was set back makes a look old, too."""
        seen = look.taken_at if look else self._began
        if abs(now - seen) <= BLIND:
            return []
        at = f"{seen.astimezone(self._instance.tz):%Y-%m-%d %H:%M %Z}"
        since = at if look else f"the start, {at}"
        return [f"the targets have not been looked at since {since}: {why or 'no look has ended'}; see the log"]

    @staticmethod
    def read(output: bytes) -> Look:
        """What the command `look` printed. Raises `ValueError`."""
        return msgspec.json.decode(output, type=Look)
