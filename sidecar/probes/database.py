"""Kimai's database: rights for backup and restore, tables that a snapshot covers, several connections on one."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from sidecar.database import rights
from sidecar.database.server import Session
from sidecar.database.snapshot import take, why_alone
from sidecar.database.tables import read_tables
from sidecar.errors import Exit
from sidecar.probes.job import Finding, Job


def database(job: Job) -> Iterator[Finding]:
    """Which server it is, what the user may do there, and which tables no snapshot covers."""
    with closing(job.connect()) as session:
        yield Finding("database", f"{session.flavour} {session.server_version}, database {session.database}")
        yield _rights(session, "rights for a backup", rights.FOR_DUMP, needed={"SELECT"})
        yield _rights(session, "rights for a restore", rights.FOR_LOAD, needed=set())
        others = [table for table in read_tables(session) if table.engine != "InnoDB"]
        for table in others:
            yield Finding(
                f"table {table.name}",
                f"is {table.engine}, which the snapshot does not cover",
                f"ALTER TABLE `{table.name}` ENGINE=InnoDB;",
            )
        if not others:
            yield Finding("tables", "all are InnoDB: one snapshot covers them")


def snapshot(job: Job) -> Iterator[Finding]:
    """Whether several connections get one snapshot, and how long that takes."""
    if job.connections == 1:
        yield Finding("snapshot", "one connection, as DATABASE_CONNECTIONS says")
        return
    with closing(job.connect()) as session:
        reason = why_alone(session)
    started = time.monotonic()
    with take(job.connect, job.connections) as taken:
        shared = len(taken.sessions)
    took = time.monotonic() - started
    if shared > 1:
        yield Finding("snapshot", f"{shared} connections share one, taken in {took:.2f} s")
    else:
        yield Finding("snapshot", f"one connection only: {reason or 'the tables could not be locked'}", "It is slower.")


def _rights(session: Session, what: str, wanted: Sequence[str], needed: set[str]) -> Finding:
    lacking = rights.lacking(session, wanted)
    if not lacking:
        return Finding(what, ", ".join(wanted))
    fatal = bool(needed & set(lacking))
    return Finding(
        what,
        f"lacks {', '.join(lacking)}",
        rights.grant(session, lacking),
        Exit.UNREACHABLE if fatal else Exit.DONE,
    )
