"""Kimai itself: whether its version, its secret and its files can be had."""

from collections.abc import Iterator
from contextlib import closing

from sidecar.errors import Exit
from sidecar.probes.job import Finding, Job


def kimai(job: Job) -> Iterator[Finding]:
    """Where it was found, its version, and where its secret comes from."""
    instance = job.kimai()
    for remark in instance.remarks():
        yield Finding(*remark)
    found = instance.identify()
    revision = f", revision {found.git_revision[:12]}" if found.git_revision else ""
    yield Finding("Kimai", f"version {found.version} (by {found.version_source}){revision}")
    secret = instance.app_secret()
    if secret is None:
        yield Finding("app secret", "none found: users' sessions and signed links depend on it", "Look for APP_SECRET.")
    else:
        yield Finding("app secret", f"from {secret.source}")


def files(job: Job) -> Iterator[Finding]:
    """Whether each of its files can be opened, and what is missing among them."""
    survey = job.kimai().survey()
    every = [entry for entry in survey.entries if entry.kind == "file"]
    with closing(survey):
        for entry in every:
            # Root without its usual capabilities finds out by opening alone.
            if (reading := survey.open(entry)) is not None:
                reading.close()
    lacking = [*survey.unreadable, *survey.missing]
    if lacking:
        names = ", ".join(lacking[:5])
        yield Finding(
            "files", f"can't be read: {names}", "Run as root, or let this user read them.", Exit.CONFIGURATION
        )
    else:
        yield Finding("files", f"{len(every)} files, {survey.size} bytes, all can be opened")
