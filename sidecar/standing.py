"""How the daemon stands: what page and metrics show, put together from what it last saw, for other threads to ask."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import msgspec

from sidecar import __version__, health
from sidecar.history import History
from sidecar.retention import Policy
from sidecar.status import Look, Next, Status


@dataclass(frozen=True)
class Instance:
    """Whose status it is, and how long backups are kept on each of its targets."""

    name: str
    tz: tzinfo
    policies: dict[str, Policy]


class Standing:
    """What the daemon knows now. Any thread may ask; asking costs a few small files at the most."""

    def __init__(self, instance: Instance, history: History, job: health.Job) -> None:
        self._instance = instance
        self._history = history
        self._job = job
        self._lock = threading.Lock()
        self._look: Look | None = None
        self._nexts: tuple[Next, ...] = ()

    def saw(self, look: Look) -> None:
        """What lies on the targets now."""
        with self._lock:
            self._look = look

    def plans(self, nexts: Sequence[Next]) -> None:
        """What comes next now."""
        with self._lock:
            self._nexts = tuple(nexts)

    def status(self, now: datetime) -> Status:
        """Everything, with the problems that health sees in it."""
        with self._lock:
            look, nexts = self._look, self._nexts
        facts = health.gather(self._job, look, now)
        running = list(facts.running)
        return Status(
            instance=self._instance.name,
            version=__version__,
            now=now,
            tz=self._instance.tz,
            problems=[*health.judge(facts, now), *health.state_problems(self._job.state)],
            nexts=nexts,
            running=running[-1] if running else None,
            look=look,
            runs=list(facts.runs),
            log=self._history.log_of(facts.runs[-1].id) if facts.runs else (),
            policies=self._instance.policies,
        )

    @staticmethod
    def read(output: bytes) -> Look:
        """What the command `look` printed. Raises `ValueError`."""
        return msgspec.json.decode(output, type=Look)
