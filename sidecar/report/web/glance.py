"""The one glance and the one sentence: how things stand, and what comes next."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from sidecar.errors import Exit
from sidecar.report import standing, words
from sidecar.runs import Run
from sidecar.status import Kept, Next, Shelf, Status

Mood = Literal["well", "wrong", "failed", "empty", "running", "unknown"]
_STATES: dict[Mood, str] = {
    "well": "All is well",
    "wrong": "Something is wrong",
    "failed": "The last backup failed",
    "empty": "No backup yet",
    "running": "Running now",
    "unknown": "Not known yet",
}


class Glance(NamedTuple):
    """`state` in a few words, `sentence` in one sentence."""

    mood: Mood
    state: str
    sentence: str


def glance(status: Status) -> Glance:
    """What is wrong comes before what runs: a run that hangs must not hide it."""
    newest = _newest(standing.shelves(status), status.now)
    mood: Mood = "well"
    if status.problems:
        mood = "wrong"
    elif status.running:
        mood = "running"
    elif _has_failed(status.runs):
        # No problem yet: one missed night is forgiven, and retries are to come.
        mood = "failed"
    elif status.look is None:
        mood = "unknown"
    elif newest is None:
        mood = "empty"
    return Glance(mood, _STATES[mood], _sentence(status, newest))


def _has_failed(runs: Sequence[Run]) -> bool:
    """Whether the last backup is not on every target; one that was told to end has not failed."""
    ended = (run for run in reversed(runs) if run.command == "backup" and run.exit_code != Exit.INTERRUPTED)
    last = next(ended, None)
    return last is not None and not last.is_stored


def _sentence(status: Status, newest: Kept | None) -> str:
    if status.look is None:
        newest_is = "The targets have not been looked at since the start"
    elif newest is None:
        named = [shelf.target for shelf in status.look.shelves if shelf.problem is None]
        newest_is = f"There is no backup on {words.listed(named)}" if named else "No target can be listed"
    else:
        holders = [shelf.target for shelf in status.look.shelves if _holds(shelf, newest)]
        old = words.old(newest.created_at, status.now)
        newest_is = f"The newest backup is {old} and lies on {words.listed(holders)}"
    if status.running:
        since = words.age(max(timedelta(), status.now - status.running.started_at))
        return f"{newest_is}; a {status.running.command} has been running for {since}."
    coming = _soonest(status.nexts)
    if coming is None:
        return f"{newest_is}; nothing is scheduled."
    again = "is tried again" if coming.is_retry else "runs"
    return f"{newest_is}; the next {coming.command} {again} {when(coming.at, status)}."


def when(at: datetime, status: Status) -> str:
    """A time to come, on the clock of the status' zone."""
    return words.soon(at, status.now, status.tz)


def _newest(shelves: Sequence[Shelf], now: datetime) -> Kept | None:
    found = [each for shelf in shelves if (each := standing.newest(shelf, now))]
    return max(found, key=lambda each: each.created_at, default=None)


def _holds(shelf: Shelf, backup: Kept) -> bool:
    return any(each.id == backup.id and not each.damaged for each in shelf.backups)


def _soonest(nexts: Sequence[Next]) -> Next | None:
    """The next backup where one is planned: that is what people ask for; else whatever comes first."""
    backups = [each for each in nexts if each.command == "backup"]
    return min(backups or nexts, key=lambda each: each.at, default=None)
