"""Nights without waiting for them: a daemon under a clock that tests wind, with children that only leave records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import msgspec

from sidecar.daemon import Daemon, Job
from sidecar.health import Job as HealthJob
from sidecar.history import History
from sidecar.notices import due
from sidecar.retention import Policy
from sidecar.runs import Run, Started
from sidecar.schedule import Cron, Plan
from sidecar.since import Since
from sidecar.standing import Instance, Standing
from sidecar.state import State
from sidecar.status import Kept, Look, Shelf

A_RUN = 1.0
"""Seconds that a run takes here."""
NO_RECORD = -1000


class FakeClock:
    """Waiting costs nothing; `events` happen when so many seconds of monotonic time have passed."""

    def __init__(self, now: datetime) -> None:
        self.wall = now
        self.passed = 0.0
        self.stopped = False
        self.events: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> None:
        self.events.sort(key=lambda event: event[0])
        # At least a moment passes: as on a real machine, nothing happens twice at one time.
        ends = self.passed + max(seconds, 0.001)
        while self.events and self.events[0][0] <= ends:
            at, event = self.events.pop(0)
            self._pass(max(0.0, at - self.passed))
            event()
            if self.stopped:
                return
        self._pass(max(0.0, ends - self.passed))

    def _pass(self, seconds: float) -> None:
        self.passed += seconds
        self.wall += timedelta(seconds=seconds)

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        self.events.append((self.passed + seconds, event))

    def stop(self) -> None:
        self.stopped = True

    def jump(self, by: timedelta) -> None:
        """Somebody sets the clock; forward is also what a suspended machine sees."""
        self.wall += by


class MemoryHistory(History):
    """Runs as `History` remembers them, without a disk: what is written safely there costs a year of nights seconds."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self._runs: dict[str, Run] = {}

    def add(self, run: Run, lines: Sequence[str] = ()) -> None:
        self._runs[run.id] = run

    def settle(self) -> list[Run]:
        return []

    def runs(self) -> list[Run]:
        return list(self._runs.values())

    def running(self) -> list[Started]:
        return []

    def log_of(self, run_id: str) -> list[str]:
        return []


@dataclass
class FakeChild:
    """A run that ends after a while with a code, and writes its record unless it is killed before or says nothing."""

    nights: "Nights"
    arguments: Sequence[str]
    code: int
    ends: float
    began: datetime
    ended: int | None = None
    printed: bytes = b""
    pid: int = 1

    def poll(self) -> int | None:
        if self.ended is None and self.nights.clock.passed >= self.ends:
            self._finish(self.code)
        return self.ended

    def end(self) -> None:
        if self.ended is None:
            self._finish(130)

    def kill(self) -> None:
        self.ended = -9

    def output(self) -> bytes:
        return self.printed

    def _finish(self, code: int) -> None:
        self.ended = code
        if self.arguments[0] in ("look", "tell"):
            return
        if code == NO_RECORD:
            self.ended = 4
            return
        command, _, run_id, _, trigger = self.arguments
        now = self.nights.clock.now()
        run = Run(
            id=run_id,
            command=command,  # type: ignore[arg-type]
            trigger=trigger,  # type: ignore[arg-type]
            started_at=self.began,
            finished_at=max(now, self.began),
            exit_code=code,
            summary="as the test has it",
        )
        if self.nights.tells:
            self.nights.tell(run)
        if self.nights.keeps and run.is_stored:
            self.nights.keep(run)
        self.nights.history.add(run)


@dataclass
class Nights:
    """A machine with a daemon. `outcomes` are the exit codes of the runs to come, 0 when used up."""

    folder: Path
    tz: tzinfo
    now: datetime
    schedule: str | None = "10 1 * * *"
    verify: str | None = None
    jitter: timedelta = timedelta()
    outcomes: list[int] = field(default_factory=list)
    takes: float = A_RUN
    pace: float = 900.0
    on_disk: bool = True
    """The history is the real one."""
    tells: bool = False
    """Each run tells what the real one would; else nobody is told anything."""
    keeps: bool = False
    """Each good run leaves a backup on the target."""

    def __post_init__(self) -> None:
        self.clock = FakeClock(self.now)
        self.history = History(self.folder / "kimai.runs") if self.on_disk else MemoryHistory()
        self.started: list[tuple[float, datetime, Sequence[str]]] = []
        self.told: list[str] = []
        self.looks = 0
        self.look_code = 0
        self.look_takes = 0.0
        self.shelves = [Shelf(target="local")]
        self.cannot_start = False
        self.notices: list[tuple[datetime, str]] = []

    # ── What it works with ───────────────────────────────────────────────────────────────────────────────────

    @property
    def plans(self) -> list[Plan]:
        found = []
        if self.schedule:
            found.append(Plan("backup", Cron(self.schedule, self.tz), self.jitter, "salt", by_hand_counts=True))
        if self.verify:
            found.append(Plan("verify", Cron(self.verify, self.tz)))
        return found

    def job(self) -> Job:
        since = Since(self.folder / "kimai.since.json")
        state = State(self.folder, "kimai", self.folder)
        plan = next((plan for plan in self.plans if plan.command == "backup"), None)
        looked = Look(taken_at=self.now, shelves=self.shelves)
        health = HealthJob(lambda: looked, self.history.runs, self.history.running, plan, since, state)
        instance = Instance("kimai", self.tz, {"local": Policy()})
        self.standing = Standing(instance, self.history, health, self.clock.now())
        return Job(
            instance="kimai",
            plans=self.plans,
            history=self.history,
            since=since,
            standing=self.standing,
            start=self.start,
            clock=self.clock,
            end_run=lambda deadline: None,
            pace=self.pace,
        )

    def start(self, arguments: Sequence[str], *, keep_output: bool) -> FakeChild:
        if self.cannot_start:
            raise OSError(12, "Cannot allocate memory")
        now = self.clock.now()
        child = FakeChild(self, arguments, 0, self.clock.passed, now)
        if arguments[0] == "look":
            self.looks += 1
            child.code = self.look_code
            child.ends = self.clock.passed + self.look_takes
            child.printed = msgspec.json.encode(Look(taken_at=now, shelves=self.shelves))
        elif arguments[0] == "tell":
            self.told.append(arguments[1])
        else:
            child.code = self.outcomes.pop(0) if self.outcomes else 0
            child.ends = self.clock.passed + self.takes
            self.started.append((self.clock.passed, now, arguments))
        return child

    # ── What happens ─────────────────────────────────────────────────────────────────────────────────────────

    def run(self, time: timedelta) -> None:
        """The daemon is started, and told to stop after so long."""
        self.clock.stopped = False
        self.clock.at(time.total_seconds(), self.clock.stop)
        Daemon(self.job()).run()
        self.clock.events.clear()

    def down(self, time: timedelta) -> None:
        """The container, or the machine, is off for so long."""
        self.clock.wait(time.total_seconds())

    def by_hand(self, code: int = 0, command: str = "backup") -> None:
        """Somebody runs a command now."""
        now = self.clock.now()
        self.history.add(
            Run(
                id=f"{now:%Y%m%dT%H%M%S}-hand",
                command=command,  # type: ignore[arg-type]
                started_at=now,
                finished_at=now,
                exit_code=code,
                summary="by hand",
            )
        )

    def tell(self, run: Run) -> None:
        """As `telling` does it, to somebody who always listens."""
        run.told = [notice.kind for notice in due(self.history.runs(), run, self.tz)]
        self.notices += [(run.finished_at, kind) for kind in run.told]

    def keep(self, run: Run) -> None:
        [shelf] = self.shelves
        kept = Kept(id=run.id, created_at=run.started_at, kimai_version="2.66.0", size=1)
        self.shelves = [Shelf(target=shelf.target, backups=[kept, *shelf.backups])]

    # ── What there is to see ─────────────────────────────────────────────────────────────────────────────────

    def runs(self, command: str = "backup") -> list[str]:
        """Each run of the daemon: local time and why."""
        return [
            f"{at.astimezone(self.tz):%m-%d %H:%M} {arguments[4]}"
            for _, at, arguments in self.started
            if arguments[0] == command
        ]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
