"""Health: whether the newest backups are as new as they should be, and this container could make and restore more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sidecar.errors import Exit, KimaiBackupError
from sidecar.runs import Run, Started
from sidecar.schedule import Plan, oldest_allowed
from sidecar.since import Since
from sidecar.state import State
from sidecar.status import AHEAD, Look, Shelf

PATIENCE = timedelta(minutes=30)
"""How long after its moment a backup may be on its way before it counts as missed."""
UNJUDGED = "no BACKUP_SCHEDULE is set: how old the newest backup is was not judged"


@dataclass(frozen=True)
class Facts:
    """What is judged. `plan` is the schedule of backups, which holds since `since`; `targets` tells of each target when
    it was first seen.
    """

    shelves: Sequence[Shelf]
    runs: Sequence[Run]
    running: Sequence[Started]
    plan: Plan | None
    since: datetime
    targets: Mapping[str, datetime]


class Found(NamedTuple):
    """Every reason why not all is well, a line each, and what else there is to know."""

    problems: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Job:
    """What health looks at, and with."""

    look: Callable[[], Look]
    runs: Callable[[], Sequence[Run]]
    running: Callable[[], Sequence[Started]]
    plan: Plan | None
    since: Since
    state: State


def examine(job: Job, now: datetime) -> Found:
    """Ask the targets, and judge. Not looked at: Kimai and its database, which `doctor` tries, and each backup."""
    facts = gather(job, job.look(), now)
    problems = [*judge(facts, now), *state_problems(job.state)]
    return Found(problems, [] if job.plan else [UNJUDGED])


def gather(job: Job, look: Look | None, now: datetime) -> Facts:
    """What `judge` needs, from what was last seen of the targets."""
    runs = job.runs()
    since = now
    if job.plan is not None:
        # Only the daemon says that a schedule is new: a shell with another BACKUP_SCHEDULE would turn red into green.
        since = job.since.known_plan("backup") or (runs[0].started_at if runs else job.since.made(now))
    shelves = look.shelves if look else ()
    targets = {shelf.target: seen for shelf in shelves if (seen := job.since.known_target(shelf.target))}
    return Facts(shelves, runs, job.running(), job.plan, min(since, now), targets)


def judge(facts: Facts, now: datetime) -> list[str]:
    """Every reason in what lies on the targets and what ran; nothing is asked, so that all who judge agree."""
    problems = [f"target {shelf.target}: {shelf.problem}" for shelf in facts.shelves if shelf.problem]
    if facts.plan is not None:
        started = [each.started_at for each in facts.running if each.command == "backup"]
        limit = oldest_allowed(facts.plan, now, max(started, default=None), PATIENCE)
        # Where the schedule is new, its first moments are still to come.
        if limit is not None and facts.since < limit:
            listed = [shelf for shelf in facts.shelves if not shelf.problem]
            problems += [line for shelf in listed for line in _too_old(shelf, facts, facts.plan, limit, now)]
    return problems + _found_by_verify(facts) + _found_by_drill(facts)


def state_problems(state: State) -> list[str]:
    """What is wrong with the state folder, or was left in it by a restore that was killed."""
    try:
        state.check_writable()
        state.refuse_cut_short()
    except KimaiBackupError as error:
        return [str(error)]
    return []


def expression_of(plan: Plan) -> str:
    """A schedule as it is remembered: the time zone is a part of it."""
    return f"{plan.cron.expression} ({plan.cron.tz})"


def _too_old(shelf: Shelf, facts: Facts, plan: Plan, limit: datetime, now: datetime) -> list[str]:
    sound = [kept for kept in shelf.backups if not kept.safety and not kept.damaged]
    newest = max((kept.created_at for kept in sound if kept.created_at <= now + AHEAD), default=None)
    # Names tell whole seconds.
    if (newest or facts.targets.get(shelf.target, facts.since)) >= limit - timedelta(seconds=1):
        return []
    what = f"its newest whole backup is of {_local(newest, facts)}" if newest else "it holds no whole backup"
    due = f"there should be one since {_local(limit, facts)} (BACKUP_SCHEDULE {plan.cron.expression})"
    return [f"target {shelf.target}: {what}, and {due}. {_why(facts)}"]


def _found_by_verify(facts: Facts) -> list[str]:
    """Damage stands until a verify of all is good, or one of that backup: what could not be read takes nothing back.

    Nor does a verify without a key, which opened no encrypted one, take back what one with a key found.
    """
    found: dict[tuple[str | None, bool], Run] = {}
    for run in facts.runs:
        if run.command != "verify":
            continue
        if run.is_good:
            found = {of: bad for of, bad in found.items() if not _takes_back(run, bad)}
        elif run.exit_code == Exit.DAMAGED:
            found[run.backup, run.keyed] = run
    if not found:
        return []
    newest = max(found.values(), key=lambda run: run.started_at)
    at = _local(newest.started_at, facts)
    key = ", with BACKUP_IDENTITY set as it was then" if newest.keyed else ""
    mend = f"Look at what it names, and run `kimai-backup verify` again{key}."
    return [f"the verify of {at} found damage (exit {Exit.DAMAGED}): {newest.summary}. {mend}"]


def _takes_back(good: Run, bad: Run) -> bool:
    return good.backup in (None, bad.backup) and not (bad.keyed and good.unopened)


def _found_by_drill(facts: Facts) -> list[str]:
    # One that was told to end, or met another run, says nothing of a backup.
    unsaid = (Exit.INTERRUPTED, Exit.LOCKED)
    drills = [run for run in facts.runs if run.command == "drill" and run.exit_code not in unsaid]
    if not drills or drills[-1].is_good:
        return []
    at = _local(drills[-1].started_at, facts)
    return [f"the newest drill, of {at}, failed (exit {drills[-1].exit_code}): {drills[-1].summary}"]


def _why(facts: Facts) -> str:
    """What the newest backup that ran had to say, and what to do next."""
    newest = next((run for run in reversed(facts.runs) if run.command == "backup"), None)
    if newest is None:
        return "None has run: see that `kimai-backup run` runs, or run `kimai-backup backup`."
    at = _local(newest.started_at, facts)
    return f"The newest run, of {at}, ended with exit code {newest.exit_code}: {newest.summary}"


def _local(at: datetime | None, facts: Facts) -> str:
    tz = facts.plan.cron.tz if facts.plan else UTC
    return f"{at.astimezone(tz):%Y-%m-%d %H:%M %Z}" if at else "never"
