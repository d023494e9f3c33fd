"""The server for drills: whether a drill can be had there, and what it would lack beside Kimai's own."""

from collections.abc import Iterator
from contextlib import closing

from sidecar.database import rights
from sidecar.database.scratch import scratch_database
from sidecar.database.server import series
from sidecar.errors import Exit
from sidecar.probes.job import Finding, Job


def scratch(job: Job) -> Iterator[Finding]:
    """The server for drills: whether a database can be made there, with all rights, for what Kimai's server holds."""
    if job.scratch is None:
        return
    what, prefix = "scratch server", job.scratch_prefix()
    with (
        scratch_database(job.scratch, prefix, "utf8mb4", "utf8mb4_unicode_ci") as name,
        closing(job.scratch(name)) as its,
    ):
        lacking = rights.lacking(its, (*rights.FOR_LOAD, *rights.FOR_OBJECTS))
    kind, limit = (its.flavour, series(its.server_version)), its.packet_limit
    if lacking:
        code = Exit.REFUSED if {*lacking} & {*rights.FOR_LOAD} else Exit.DONE
        yield Finding(what, f"the user lacks {', '.join(lacking)}", rights.for_drills(prefix), code)
    else:
        yield Finding(what, f"{its.flavour} {its.server_version}, databases {prefix}_drill_… can be made and dropped")
    with closing(job.connect()) as own:
        if own.identity == its.identity:
            yield Finding(what, "is Kimai's own: a drill there slows Kimai down", "Use one beside it (README).")
        if (own.flavour, series(own.server_version)) != kind:
            seen = f"Kimai's is {own.flavour} {own.server_version}: a drill compares rows, and no definitions"
            yield Finding(what, seen, "Use the same series for both.")
        if limit < own.packet_limit:
            seen = f"takes statements of {limit} bytes, Kimai's {own.packet_limit}: it may refuse a backup"
            yield Finding(what, seen, f"Set max_allowed_packet to {own.packet_limit} there.")
