"""The daemon, until it has a schedule of its own: it says so, and waits to be told to end."""

import logging
from collections.abc import Callable
from threading import Event

log = logging.getLogger(__name__)


END_DEADLINE = 8.0
"""Seconds that a run gets to end with the container; Docker's own patience is 10."""


def run(schedule: str | None, stop: Event, end_run: Callable[[float], str | None]) -> None:
    """Say that nothing is scheduled and how backups are started, then wait until `stop` is set.

    `end_run` ends a run that was started beside this one, within so many seconds, and tells which. `schedule` is
    BACKUP_SCHEDULE in cron's syntax, None where it is turned off. The wait has no deadline: it is what keeps the
    container there for `docker compose exec`.
    """
    waiting_for = f"BACKUP_SCHEDULE ({schedule}) starts nothing" if schedule else "no BACKUP_SCHEDULE is set"
    log.warning(
        "this version does not have the scheduler yet: %s. Start backups from the host's cron: "
        "docker compose exec -T backup kimai-backup backup",
        waiting_for,
    )
    stop.wait()
    log.info("told to end by SIGTERM")
    if (ended := end_run(END_DEADLINE)) is not None:
        log.warning("%s was told to end as well, as it would not outlive the container", ended)
