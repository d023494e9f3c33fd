"""Notices: what of a run somebody must be told, judged by the runs before it and by what was told of those."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

from sidecar.brief import amount, some
from sidecar.errors import Exit
from sidecar.runs import KILLED, Run

Kind = Literal["failure", "recovery", "partial", "shrank", "unpruned", "smaller", "unproven", "success"]

COMMANDS = ("backup", "verify", "drill")
"""What is told of. Who restores or prunes does it by hand, and sees how it ends."""
AGAIN = timedelta(hours=10)
"""The same failure is told again after this time at the earliest: once a night, and not each hour of a day."""
NIGHT = timedelta(days=1)
"""For so long a retry stands for the run that it makes up for."""
WEEK = timedelta(days=6, hours=12)
"""What lasts is told again after a week; less half a day, as no two nights end at the same minute."""
FORERUNNERS = 10
FEWEST = 3
SMALLER = 0.5
"""A backup is much smaller below this part of the median of its last FORERUNNERS, of which there must be FEWEST."""

NAMES = 10
"""Of what lacks, so many are named."""

_ENDED_WELL = (Exit.DONE, Exit.PARTIAL)


class Notice(NamedTuple):
    """One thing to be told: a few words for the title, and a sentence or two."""

    kind: Kind
    title: str
    text: str


def due(
    before: Sequence[Run], run: Run, tz: tzinfo, *, on_success: bool = False, unproven_days: int | None = None
) -> list[Notice]:
    """What is to be told of a run that has ended; `before` are the runs before it, oldest first.

    What was told counts only as far as it was sent (`Run.told`): what a notifier that was down has missed is told by
    the next run that fails, or that is well again. A run that was told to end is none to tell of.
    """
    if run.command not in COMMANDS or run.exit_code == Exit.INTERRUPTED:
        return []
    same = [each for each in before if each.command == run.command and each.exit_code != Exit.INTERRUPTED]
    found = [*_failure(same, run, tz), *_recovery(same, run, tz), *_partial(same, run)]
    found += [*_shrank(run), *_smaller(same, run)]
    if unproven_days is not None:
        found += _unproven(before, run, tz, unproven_days)
    if on_success and run.is_good and not any(notice.kind == "recovery" for notice in found):
        found.insert(0, Notice("success", f"{run.command} done", ""))
    return found


def local(at: datetime, tz: tzinfo) -> str:
    """A time as the clock on the wall there shows it."""
    return f"{at.astimezone(tz):%Y-%m-%d %H:%M %Z}"


def _failure(same: Sequence[Run], run: Run, tz: tzinfo) -> Iterator[Notice]:
    if run.exit_code in _ENDED_WELL:
        return
    if run.exit_code == Exit.LOCKED and run.trigger in ("schedule", "missed"):
        # Another run was at work, and this one is tried again in a moment.
        return
    if _is_unfounded(same, run):
        return
    streak = _streak(same)
    if any("failure" in each.told and each.exit_code == run.exit_code and _is_recent(each, run) for each in streak):
        return
    how = "was killed" if run.exit_code == KILLED else f"failed (exit {run.exit_code})"
    failing = [each for each in streak if not each.is_stored]
    text = f"{run.command} {how}."
    if failing:
        text += f" It has been failing since {local(failing[0].started_at, tz)}, {len(failing) + 1} runs in a row."
    yield Notice("failure", f"{run.command} {how}", text + _retried(run))


def _retried(run: Run) -> str:
    """What becomes of a run that failed: the daemon tries its own again, unless there is no sense in that."""
    is_verdict = run.exit_code == Exit.DAMAGED and run.command != "backup"
    if run.trigger not in ("schedule", "missed") or is_verdict or run.exit_code == Exit.USAGE:
        return ""
    return " It is tried again after 10, 30 and 90 minutes; you hear of it when it is well again."


def _recovery(same: Sequence[Run], run: Run, tz: tzinfo) -> Iterator[Notice]:
    """The first run that is well after one that was told to be ill; if that can't be sent, the next of that week."""
    if not run.is_stored:
        return
    failing: list[Run] = []
    for each in reversed(same):
        if "recovery" in each.told or (each.is_stored and (failing or run.finished_at - each.finished_at > WEEK)):
            break
        if not each.is_stored:
            failing.append(each)
    if any({"failure", "partial"} & set(each.told) for each in failing):
        count = f"{len(failing)} runs" if len(failing) > 1 else "one run"
        since = local(failing[-1].started_at, tz)
        title = f"{run.command} is well again"
        yield Notice("recovery", title, f"{title}. It failed since {since}: {count}.")


def _partial(same: Sequence[Run], run: Run) -> Iterator[Notice]:
    if run.exit_code != Exit.PARTIAL:
        return
    if run.failed:
        if _is_unfounded(same, run):
            return
        told = [each for each in _streak(same) if "partial" in each.told and _is_recent(each, run)]
        if not any(set(each.failed) >= set(run.failed) for each in told):
            names = ", ".join(run.failed)
            text = f"The {run.command} did not reach {names}.{_retried(run)}"
            yield Notice("partial", f"{run.command} is not on {names}", text)
    elif news := _what_is_new(same, run):
        yield Notice("partial", f"{run.command} done in part", news)


def _shrank(run: Run) -> Iterator[Notice]:
    # All that is there may have been read (exit 0): tables that are gone are no part of it.
    if run.shrank:
        text = f"This {run.command} holds less than the one before it, so nothing was pruned: {run.shrank}."
        yield Notice("shrank", f"{run.command} holds less than before", text)
    elif run.unpruned:
        # Where it lasts, the disk fills.
        yield Notice("unpruned", f"{run.command} pruned nothing", f"Nothing was pruned: {run.unpruned}.")


def _what_is_new(same: Sequence[Run], run: Run) -> str:
    """What lacks, where that is news: the same as ever is told once a week."""
    told: list[Run] = []
    for each in reversed(same):
        if each.is_good:
            break
        if "partial" in each.told and _is_within(WEEK, each, run):
            told.append(each)
    known = {what for each in told for what in each.lacks}
    new = [what for what in run.lacks if what not in known]
    if new and known:
        return f"Lacking since now: {some(new, NAMES)}. {len(run.lacks)} lack in all."
    if new or not told:
        return f"Lacking: {some(run.lacks, NAMES)}." if run.lacks else "It did not do all that it should have."
    return ""


def _smaller(same: Sequence[Run], run: Run) -> Iterator[Notice]:
    sized = [each for each in same if _has_size(each)]
    if not _has_size(run) or not (usual := _much_larger(sized, run)):
        return
    for number in reversed(range(len(sized))):
        if "smaller" in sized[number].told:
            return
        if not _much_larger(sized[:number], sized[number]):
            break
    text = (
        f"This backup has {amount(run.size)}; the median of those before it is {amount(usual)}."
        " Look whether Kimai has lost what it should have."
    )
    yield Notice("smaller", "backup is much smaller than before", text)


def _much_larger(sized: Sequence[Run], run: Run) -> float:
    """The median of the forerunners' sizes where the run's is much smaller; else 0."""
    last = sorted(each.size for each in sized[-FORERUNNERS:])
    if len(last) < FEWEST:
        return 0
    usual = (last[(len(last) - 1) // 2] + last[len(last) // 2]) / 2
    return usual if run.size < usual * SMALLER else 0


def _unproven(before: Sequence[Run], run: Run, tz: tzinfo, days: int) -> Iterator[Notice]:
    if run.command != "backup" or run.exit_code not in _ENDED_WELL:
        return
    drills = [each.finished_at for each in before if each.command == "drill" and each.is_good]
    # Of one from the time to come nobody knows how long ago it was: the clock was set back since.
    proofs = [at for at in drills if at <= run.finished_at]
    # Before the first drill it counts from when anything began: a day's old installation has nothing to be told of.
    since = max(proofs, default=min([run.started_at, *(each.started_at for each in before)]))
    told = any("unproven" in each.told and _is_within(WEEK, each, run) for each in before)
    if told or run.finished_at - since <= timedelta(days=days):
        return
    last = f"The last drill that matched was {local(since, tz)}" if proofs else "No drill has matched yet"
    text = f"{last}: that the backups can be restored is not proven, and should be every {days} days."
    yield Notice("unproven", f"no backup proven for {days} days", text)


def _streak(same: Sequence[Run]) -> list[Run]:
    """The runs since the last one that did what it should."""
    first = next((number for number in reversed(range(len(same))) if same[number].is_stored), -1)
    return list(same[first + 1 :])


def _is_unfounded(same: Sequence[Run], run: Run) -> bool:
    """Whether it makes up for a run that nobody remembers, as the state folder is full: that one has told of itself."""
    return run.trigger == "retry" and not _streak(same)


def _is_recent(told: Run, run: Run) -> bool:
    """Whether that telling still stands for this run."""
    return _is_within(NIGHT if run.trigger == "retry" else AGAIN, told, run)


def _is_within(span: timedelta, told: Run, run: Run) -> bool:
    """Whether that telling is so young; one from the time to come (the clock was set back since) silences nothing."""
    return timedelta() <= run.finished_at - told.finished_at < span


def _has_size(run: Run) -> bool:
    return run.command == "backup" and run.size > 0
