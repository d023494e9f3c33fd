"""What a status says of each target: its newest backup that counts, its newest proven one, its last success."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sidecar.manifest import BackupId
from sidecar.runs import Command, Run
from sidecar.status import AHEAD, Kept, Shelf, Status


def shelves(status: Status) -> Sequence[Shelf]:
    """The targets as they were last looked at; none before the first look."""
    return status.look.shelves if status.look else ()


def newest(shelf: Shelf, now: datetime) -> Kept | None:
    """The newest backup that health counts: no damaged one, none that a restore made for its own safety, none dated
    in the future.
    """
    sound = (each for each in shelf.backups if not each.damaged and not each.safety)
    return next((each for each in sound if each.created_at <= now + AHEAD), None)


def newest_proven(shelf: Shelf, now: datetime) -> Kept | None:
    """The newest one that a drill has shown to be whole."""
    return next((each for each in shelf.backups if each.proven and each.created_at <= now + AHEAD), None)


def last_success(status: Status, shelf: Shelf) -> datetime | None:
    """Of when the newest backup on a target is; where it can't be listed, what the history knows to have gone there."""
    if shelf.problem is None:
        found = newest(shelf, status.now)
        return found.created_at if found else None
    for run in reversed(status.runs):
        made = BackupId.parse(run.backup) if run.backup and shelf.target in run.targets else None
        if made is not None and made.created_at <= status.now + AHEAD:
            return made.created_at
    return None


def last_runs(runs: Iterable[Run]) -> dict[Command, Run]:
    """The newest run of each command."""
    return {run.command: run for run in runs}


def last_backup(runs: Sequence[Run]) -> Run | None:
    """The newest run that made a backup."""
    return next((run for run in reversed(runs) if run.backup), None)
