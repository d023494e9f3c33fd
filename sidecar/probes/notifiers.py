"""Who is told of runs: whether anybody is when a backup fails, and whether they can be reached."""

from collections.abc import Iterator

from sidecar.probes.job import Finding, Job


def notifiers(job: Job) -> Iterator[Finding]:
    """Whether somebody is told when a backup fails."""
    for found in job.notifiers():
        yield Finding(*found)
