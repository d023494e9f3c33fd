"""The daemon: starts each command when it is due, as a process of its own, and once more where it failed."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from sidecar.children import Child, Start, ended_by
from sidecar.clock import Clock
from sidecar.errors import StorageFailed
from sidecar.health import expression_of
from sidecar.history import History
from sidecar.runs import Command, Run, Trigger, new_id, unrecorded
from sidecar.schedule import Decision, Past, Plan, decide, superseded
from sidecar.since import Since
from sidecar.standing import Standing
from sidecar.status import Next
from sidecar.watch import Watch

log = logging.getLogger(__name__)

END_DEADLINE = 8.0
"""Seconds that a run gets to end with the container; Docker's own patience is 10."""
SLICE = 30.0
"""Seconds at the most until the clock is looked at again: it may have been set, or the machine been asleep."""
TELL_DEADLINE = 120.0
_ATTENTIVE = 0.25
"""The same while a child runs, whose end is to be seen."""
_PATIENT = 5.0
"""The same while something that was started otherwise is in the way."""
_JUMP = 60.0
_OWN_RUNS = 50


@dataclass(frozen=True)
class Job:
    """What the daemon works with.

    `plans` come in the order in which they run where several are due. `end_run` ends a run that was started beside the
    daemon, within so many seconds, and tells which. `keep_look` keeps what the command `look` printed, for `health`.
    """

    instance: str
    plans: Sequence[Plan]
    history: History
    since: Since
    standing: Standing
    start: Start
    clock: Clock
    end_run: Callable[[float], str | None]
    keep_look: Callable[[bytes], None] = lambda _: None
    pace: float = SLICE


@dataclass(frozen=True)
class _Running:
    """A run that this daemon began."""

    child: Child
    id: str
    command: Command
    trigger: Trigger
    began: datetime


class Daemon:
    """Until its clock says stop."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._running: _Running | None = None
        self._own: dict[str, Run] = {}
        self._earlier: frozenset[str] = frozenset()
        self._watch = Watch(job.start, job.clock, job.standing, job.keep_look)
        self._tellers: list[tuple[Child, float]] = []
        self._seen: tuple[datetime, float] | None = None
        self._waits_for = ""
        self._newest = ""
        self._hung_up = False

    def hang_up(self) -> None:
        """For a signal's handler: what SIGHUP means to other daemons means nothing here, and that is said."""
        self._hung_up = True

    def run(self) -> None:
        """Do what is due, until it is told to stop; then end what runs."""
        job = self._job
        for run in self._settle():
            self._tell(run)
        self._earlier = frozenset(run.id for run in self._runs())
        self._announce(job.clock.now())
        while not job.clock.stopped:
            job.clock.wait(self.step())
        self._end()

    def step(self) -> float:
        """Do what is due now; how many seconds may pass until there is more to do."""
        now = self._job.clock.now()
        self._notice_a_set_clock(now)
        if self._hung_up:
            self._hung_up = False
            log.warning(
                "SIGHUP does nothing: settings are read at the start, NAME_FILE by each run. Restart to change them"
            )
        self._reap(now)
        self._look()
        decisions = {plan.command: self._decide(plan, now) for plan in self._job.plans}
        blocked = False
        if self._running is None:
            due = next(((command, each) for command, each in decisions.items() if each.trigger), None)
            blocked = due is not None and self._must_wait()
            if due is not None and not blocked:
                self._begin(due[0], due[1].trigger or "schedule", now)
        self._job.standing.plans(self._nexts(decisions))
        if self._running or self._watch.child or self._tellers:
            return _ATTENTIVE
        if blocked:
            return _PATIENT
        ahead = [(each.at - now).total_seconds() for each in decisions.values() if each.at]
        # A moment too early would be a second round for nothing.
        return max(_ATTENTIVE, min([self._job.pace, *(seconds + 0.01 for seconds in ahead)]))

    # ── What is due ──────────────────────────────────────────────────────────────────────────────────────────

    def _decide(self, plan: Plan, now: datetime) -> Decision:
        runs = self._runs()
        planned = self._job.since.plan(plan.command, expression_of(plan), now, runs[0].started_at if runs else now)
        known = {run.id for run in runs}
        ignored = sorted({each for each in planned.ignored if each in known} | set(superseded(plan, runs, now)))
        if ignored != planned.ignored:
            self._job.since.ignore(plan.command, ignored)
        past = Past(runs, planned.since, self._earlier, frozenset(ignored))
        return decide(plan, past, now)

    def _runs(self) -> list[Run]:
        """What the history holds, and what it could not be told: nothing is run twice because a disk is full."""
        runs = self._job.history.runs()
        if lacking := self._own.keys() - {run.id for run in runs}:
            runs = [*runs, *(self._own[run_id] for run_id in self._own if run_id in lacking)]
        return runs

    def _nexts(self, decisions: dict[Command, Decision]) -> list[Next]:
        schedules = {plan.command: plan.cron.expression for plan in self._job.plans}
        return [
            Next(command=command, schedule=schedules[command], at=each.at, is_retry=each.is_retry)
            for command, each in decisions.items()
            if each.at is not None
        ]

    def _must_wait(self) -> bool:
        """Whether something that was started beside the daemon is in the way; verify is not."""
        others = [each for each in self._job.history.running() if each.command != "verify"]
        if others and others[0].id != self._waits_for:
            self._waits_for = others[0].id
            log.info("what is due waits until %s has ended, which was started otherwise", others[0].command)
        return bool(others)

    def _announce(self, now: datetime) -> None:
        for plan in self._job.plans:
            decided = self._decide(plan, now)
            if decided.trigger:
                log.info("%s runs now (%s)", plan.command, decided.trigger)
            elif decided.at:
                again = "again " if decided.is_retry else ""
                at = f"{decided.at.astimezone(plan.cron.tz):%Y-%m-%d %H:%M %Z}"
                log.info("%s runs %snext at %s (%s)", plan.command, again, at, plan.cron.expression)
        if not self._job.plans:
            log.warning("nothing runs by itself: neither BACKUP_SCHEDULE nor VERIFY_SCHEDULE is set")

    def _notice_a_set_clock(self, now: datetime) -> None:
        passed = self._job.clock.monotonic()
        if self._seen is not None:
            jump = (now - self._seen[0]).total_seconds() - (passed - self._seen[1])
            if abs(jump) > _JUMP:
                how = "was set back" if jump < 0 else "was set forward, or the machine slept,"
                log.warning("the clock %s by %s", how, timedelta(seconds=round(abs(jump))))
                self._announce(now)
                # By the new time, what was seen may be long ago, though it was minutes.
                self._watch.look_soon()
        self._seen = (now, passed)

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, command: Command, trigger: Trigger, now: datetime) -> None:
        run_id = new_id(now)
        log.info("%s begins (%s)", command, trigger)
        try:
            child = self._job.start([command, "--run-id", run_id, "--trigger", trigger], keep_output=False)
        except OSError as error:
            log.error("%s can't be started: %s", command, error.strerror)  # noqa: TRY400 - one line
            self._remember(unrecorded(run_id, command, trigger, now, now, 1))
            return
        self._running = _Running(child, run_id, command, trigger, now)

    def _reap(self, now: datetime) -> None:
        self._tellers = [each for each in self._tellers if not self._has_told(*each)]
        running = self._running
        if running is None or (code := running.child.poll()) is None:
            return
        self._running = None
        killed = self._settle()
        for run in killed:
            self._tell(run)
        found = next((run for run in reversed(self._runs()) if run.id == running.id), None)
        if found is None:
            self._remember(unrecorded(running.id, running.command, running.trigger, running.began, now, code))
        else:
            self._keep(found)
        self._announce(now)

    def _remember(self, run: Run) -> None:
        """What the run itself could not, and so has told nobody."""
        log.error("%s", run.summary)
        self._keep(run)
        try:
            self._job.history.add(run)
        except StorageFailed as error:
            log.warning("%s", error)
        self._tell(run)

    def _keep(self, run: Run) -> None:
        self._own[run.id] = run
        while len(self._own) > _OWN_RUNS:
            del self._own[next(iter(self._own))]

    def _settle(self) -> list[Run]:
        try:
            found = self._job.history.settle()
        except StorageFailed as error:
            log.warning("%s", error)
            return []
        for run in found:
            log.error("%s", run.summary)
        return found

    def _look(self) -> None:
        self._watch.reap()
        runs = self._job.history.runs()
        if runs and runs[-1].id != self._newest:
            # What ran, by hand as well, may have changed what lies there.
            self._newest = runs[-1].id
            self._watch.look_soon()
        if self._watch.is_due:
            if self._running is None:
                # What was started beside the daemon may have been killed, too.
                for run in self._settle():
                    self._tell(run)
            self._watch.begin()

    def _tell(self, run: Run) -> None:
        """Let others know of a run that could not tell of itself; the record goes along, as a full disk takes none."""
        record = msgspec.json.encode(run).decode()
        command = ["tell", run.id, "--instance", self._job.instance, "--record", record]
        try:
            self._tellers.append((self._job.start(command, keep_output=False), self._job.clock.monotonic()))
        except OSError as error:
            log.warning("nobody was told of run %s: %s", run.id, error.strerror)

    def _has_told(self, child: Child, since: float) -> bool:
        code = child.poll()
        if code is None and self._job.clock.monotonic() - since > TELL_DEADLINE:
            child.kill()
            code = -9
        if code:
            log.warning("whether anybody was told of a run is unknown: `tell` ended with exit code %d", code)
        return code is not None

    # ── The end ──────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> None:
        """Within END_DEADLINE and a moment: the container's own patience ends soon after."""
        clock = self._job.clock
        ends = clock.monotonic() + END_DEADLINE
        log.info("told to end")
        running = self._running
        helpers = [child for child in (*(child for child, _ in self._tellers), self._watch.child) if child is not None]
        for child in [*([running.child] if running else []), *helpers]:
            child.end()
        # It waits for whoever holds the lock, which may be our own child.
        ended = self._job.end_run(END_DEADLINE)
        if ended is not None and (running is None or f"(process {running.child.pid} on" not in ended):
            log.warning("%s was told to end as well, as it would not outlive the container", ended)
        if running is not None:
            if not ended_by(ends, running.child, clock.monotonic):
                log.error("%s did not end within %g s, and is killed", running.command, END_DEADLINE)
            self._running = None
            self._settle()
        for child in helpers:
            ended_by(ends, child, clock.monotonic)
