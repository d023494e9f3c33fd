"""Health: whether this container could back up and restore now, at the price of one look, for HEALTHCHECK."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.errors import KimaiBackupError, Locked, StorageFailed
from sidecar.state import State
from sidecar.storage.base import Storage


@dataclass(frozen=True)
class Job:
    """What health looks at."""

    storages: Sequence[Storage]
    state: State


def examine(job: Job) -> list[str]:
    """Every reason why the container is not healthy, a line each; none where it is.

    Looked at: each target can be listed, the state folder can be written to, no restore was killed. Not looked at: the
    age of the newest backup against a schedule, as there is no scheduler yet; Kimai and its database, which `doctor`
    tries.
    """
    problems = []
    for storage in job.storages:
        try:
            next(iter(storage.list()), None)
        except StorageFailed as error:
            problems.append(f"target {storage.name}: {error}")
    try:
        job.state.check_writable()
        _refuse_killed_restore(job.state)
    except KimaiBackupError as error:
        problems.append(str(error))
    return problems


def _refuse_killed_restore(state: State) -> None:
    note = state.restore_note()
    if note is None or note.phase == "settled":
        return
    try:
        # Whoever restores right now holds the lock; it is asked for only where a note lies, as it could be in the way.
        with state.lock("health"):
            state.refuse_while_restoring()
    except Locked:
        return
