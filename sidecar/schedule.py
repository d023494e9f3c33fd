"""Schedules: which run is due now and why, and when the next one is, by cron expressions, past runs and the clock."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from sidecar.errors import Exit
from sidecar.runs import KILLED, Command, Run, Trigger

RETRIES = (timedelta(minutes=10), timedelta(minutes=30), timedelta(minutes=90))
"""How long after a failed run it is tried again: after the first failure, the second, the third; then no more."""
LATE = timedelta(minutes=5)
"""A run that begins later than that after its moment had been missed."""
_CUT_SHORT = (Exit.INTERRUPTED, KILLED)
_CLEAR = timedelta(hours=3)
"""More than any change of a clock."""
_ID_TIME = "%Y%m%dT%H%M%S"


class Cron:
    """A cron expression in a time zone, by the rules of Debian's cron; every moment is given in UTC.

    A moment in an hour that the clock leaves out comes right after it, one in an hour that comes twice comes once; `*`
    as minute or hour goes by what time it is and knows nothing of that.
    """

    def __init__(self, expression: str, tz: tzinfo) -> None:
        self.expression = expression
        self.tz = tz
        # Who asks, asks of now and of the next moment, again and again.
        self._known: list[tuple[datetime, datetime]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cron) and (self.expression, self.tz) == (other.expression, other.tz)

    def __hash__(self) -> int:
        return hash((self.expression, self.tz))

    def around(self, at: datetime) -> tuple[datetime | None, datetime | None]:
        """The newest moment not after `at`, and the first one after it; None where none is within 50 years."""
        for known in self._known:
            if known[0] <= at < known[1]:
                return known
        last, following = self._find(at.astimezone(UTC))
        if last is not None and following is not None:
            self._known = [(last, following), *self._known[:3]]
        return last, following

    def last(self, at: datetime) -> datetime | None:
        """The newest moment not after `at`."""
        return self.around(at)[0]

    def after(self, at: datetime) -> datetime | None:
        """The first moment after `at`."""
        return self.around(at)[1]

    def _find(self, at: datetime) -> tuple[datetime | None, datetime | None]:
        from cronsim import CronSim

        # cronsim goes wrong where it is started in an hour that comes twice. What it finds backwards is a moment all
        # the same, though maybe not the last one; from before that it goes forward, which is right.
        back = CronSim(self.expression, self._clear(at).astimezone(self.tz), reverse=True)
        earlier = next(back, None)
        start = earlier.astimezone(UTC) - timedelta(minutes=1) if earlier else at - timedelta(days=1)
        last = None
        for local in CronSim(self.expression, self._clear(start).astimezone(self.tz)):
            moment = local.astimezone(UTC)
            if moment > at:
                return last, moment
            last = moment
        return last, None

    def _clear(self, at: datetime) -> datetime:
        """The same time or one before it that comes once only."""
        while (local := at.astimezone(self.tz)).replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            at -= _CLEAR
        return at


@dataclass(frozen=True)
class Plan:
    """A command that runs by itself. `salt` makes the delay within `jitter` its own.

    `by_hand_counts`: one that somebody ran does what the schedule would have done.
    """

    command: Command
    cron: Cron
    jitter: timedelta = timedelta()
    salt: str = ""
    by_hand_counts: bool = False

    def start_of(self, moment: datetime, following: datetime | None) -> datetime:
        """When the run of a moment begins: up to `jitter` later, the same for as often as one asks."""
        room = self.jitter
        if following is not None:
            room = max(timedelta(), min(room, following - moment - timedelta(minutes=1)))
        digest = hashlib.sha256(f"{self.salt}|{self.command}|{moment.isoformat()}".encode()).digest()
        return moment + timedelta(seconds=int(room.total_seconds() * int.from_bytes(digest[:6], "big") / (1 << 48)))


@dataclass(frozen=True)
class Past:
    """What is known of before: the runs, oldest first, and since when the plan holds.

    `earlier` are the IDs of the runs that had ended when this daemon began; `ignored` those that count for nothing, as
    the clock was set back to long before them.
    """

    runs: Sequence[Run]
    since: datetime
    earlier: Collection[str] = field(default_factory=frozenset)
    ignored: Collection[str] = field(default_factory=frozenset)


class Decision(NamedTuple):
    """`trigger`: a run is due now, and why. `at`: when the next one is to begin; None where none ever is."""

    trigger: Trigger | None
    at: datetime | None
    is_retry: bool = False


def decide(plan: Plan, past: Past, now: datetime) -> Decision:
    """Whether a run is due now, and when the next one is."""
    moment, following = plan.cron.around(now)
    coming = Decision(None, _start(plan, following))
    if moment is None or moment < past.since:
        return coming
    runs = [each for each in past.runs if _is_of(each, plan, moment, following) and each.id not in past.ignored]
    if any(_is_settled(run, plan) for run in runs):
        return coming
    attempts = [run for run in runs if run.trigger != "hand"]
    if attempts:
        return _again(attempts, past, now, following) or coming
    start = plan.start_of(moment, following)
    if now < start:
        return Decision(None, start)
    return Decision("schedule" if now - start <= LATE else "missed", now)


def _again(attempts: Sequence[Run], past: Past, now: datetime, following: datetime | None) -> Decision | None:
    """The next try after those that failed; None where there is none before the next moment."""
    # One that was told to end has not failed; one that was killed may be what kills the machine.
    failures = sum(run.exit_code != Exit.INTERRUPTED for run in attempts)
    if failures > len(RETRIES):
        return None
    newest = attempts[-1]
    if newest.exit_code in _CUT_SHORT and newest.id in past.earlier:
        return Decision("missed", now)
    at = newest.finished_at + RETRIES[max(failures, 1) - 1]
    if following is not None and at >= following:
        return None
    return Decision("retry" if now >= at else None, max(at, now), is_retry=True)


def superseded(plan: Plan, runs: Sequence[Run], now: datetime) -> list[str]:
    """The runs, by their IDs, that a clock set back to `now` makes count for nothing.

    What ran for the next moment counts: it is not run again. What ran for later ones counts for nothing, else nothing
    would run until the old time is reached again.
    """
    ahead = [run for run in runs if run.command == plan.command and _begun(run) > now]
    if not ahead:
        return []
    following = plan.cron.after(now)
    beyond = plan.cron.after(following) if following else None
    return [run.id for run in ahead if beyond is not None and _begun(run) >= beyond]


def oldest_allowed(plan: Plan, now: datetime, under_way_since: datetime | None, patience: timedelta) -> datetime | None:
    """How old the newest backup may be: one missed moment is forgiven, the moment before that is not.

    A moment counts once its run could have ended, `patience` after it was to begin; later, while one is under way that
    began after it. None: the schedule is younger than that.
    """
    counted = plan.cron.last(now - plan.jitter - patience)
    if counted is not None and under_way_since is not None and counted <= under_way_since <= now:
        counted = plan.cron.last(counted - timedelta(seconds=1))
    return plan.cron.last(counted - timedelta(seconds=1)) if counted is not None else None


def _start(plan: Plan, moment: datetime | None) -> datetime | None:
    return plan.start_of(moment, plan.cron.after(moment)) if moment is not None else None


def _is_of(run: Run, plan: Plan, moment: datetime, following: datetime | None) -> bool:
    if run.command != plan.command:
        return False
    begun = _begun(run)
    return moment <= begun and (following is None or begun < following)


def _begun(run: Run) -> datetime:
    """When it was decided that it runs. A scheduled run's own word comes a moment later, maybe by a clock set since."""
    if run.trigger == "hand":
        return run.started_at
    return _time_of(run.id) or run.started_at


@lru_cache(maxsize=4096)
def _time_of(run_id: str) -> datetime | None:
    try:
        return datetime.strptime(run_id.split("-")[0], _ID_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _is_settled(run: Run, plan: Plan) -> bool:
    """Nothing is left to do for its moment."""
    if run.trigger == "hand":
        return plan.by_hand_counts and run.is_stored
    # What a verification or a drill found is what it was to find out, however often it is asked.
    verdict = run.exit_code == Exit.DAMAGED and run.command != "backup"
    return run.is_stored or run.exit_code == Exit.USAGE or verdict
