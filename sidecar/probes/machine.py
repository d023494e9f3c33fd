"""This machine: the folder for the state of runs, and the clock beside the database server's."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from sidecar.errors import Exit
from sidecar.probes.job import Finding, Job

_CLOCK_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_SKEW = 120
"""Seconds by which this clock and the database's may differ before it is said."""


def state_folder(job: Job) -> Iterator[Finding]:
    """Whether the state folder can be written to."""
    folder = job.check_state_folder()
    yield Finding("state folder", f"{folder} can be written to")


def clock(job: Job) -> Iterator[Finding]:
    """Whether the clock is set, and the same as the database server's."""
    now = datetime.now(UTC)
    if now < _CLOCK_BEGAN:
        yield Finding(
            "clock",
            f"says {now:%Y-%m-%d %H:%M} UTC",
            "Set the clock: names and retention go by it.",
            Exit.CONFIGURATION,
        )
        return
    with closing(job.connect()) as session:
        theirs = float(session.value("SELECT UNIX_TIMESTAMP(NOW(6))") or 0)
    skew = abs(time.time() - theirs)
    if skew > _SKEW:
        yield Finding("clock", f"is {skew:.0f} s away from the database server's", "Set both by NTP.")
    else:
        yield Finding("clock", f"{now:%Y-%m-%d %H:%M} UTC, as the database server's")
