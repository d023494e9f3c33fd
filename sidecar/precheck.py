"""Everything that must be right before a restore touches anything: version, database, rights, room."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from sidecar.archive.source import Source
from sidecar.database import rights
from sidecar.database.fits import check_largest, unknown_to
from sidecar.database.objects import MARKER, marked
from sidecar.database.server import Session, series, version_number
from sidecar.database.url import parse
from sidecar.errors import Refused
from sidecar.fresh import InUse, find_fresh
from sidecar.gate import check_version
from sidecar.gate_plugins import check_plugins
from sidecar.kept import made_anew, mounts_left_alone, moved_by_backup
from sidecar.manifest import Database
from sidecar.restore_job import Job, Report
from sidecar.safety import check_savable
from sidecar.whose_secret import foresee
from sidecar.wish import Allowed

_SHOWN = 3
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass
class Checked:
    """What the checks found in order, and what they found worth a warning.

    `in_use`: the database is, and is to be replaced.
    """

    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    in_use: bool = False

    def tell(self, source: Source, report: Report) -> None:
        """Say and keep all of it, after what the backup itself made known."""
        for line in self.found:
            report.check(line)
        for line in (*source.warnings, *self.warnings):
            report.note(line)


def read_whole(job: Job, source: Source, report: Report) -> None:
    """Read the backup to its end. Raises `Damaged` where it isn't what its manifest says."""
    job.progress.phase("check the backup", total=source.size)
    source.verify(job.progress.advance)
    report.check(f"{source.label} is whole, every byte as its manifest says")


def check(
    job: Job,
    source: Source,
    *,
    only: Literal["database", "files"] | None,
    allowed: Allowed,
    passing_over: Collection[tuple[str, str]] = (),
    replace: bool = False,
    resumed: bool = False,
) -> Checked:
    """Raise `Refused`, or `Unreachable`, at the first thing that a restore would run into.

    `passing_over`: kind and name of what a killed restore made, and a true run takes back before it looks.
    `replace`: a database in use may be replaced; `resumed`: it was begun to be.
    """
    checked = Checked()
    passed = check_version(job.kimai, source, allowed, only=only)
    plugins = check_plugins(job.kimai, source, allowed, only=only, running=passed.running)
    for each in (passed, plugins):
        checked.found += each.found
        checked.warnings += each.warnings
    if only != "files":
        check_url(job, checked)
        session = job.connect()
        try:
            state = "half replaced" if resumed else _state(job, session, passing_over, replace=replace)
            checked.in_use = state == "in use"
            if (checked.in_use or resumed) and not job.kimai.can_rest:
                checked.warnings.append(
                    f"nothing stops what serves {job.kimai.root}: before a restore stop its web server, and what cron "
                    "runs of it"
                )
            check_rights(session, source.manifest.database if source.manifest else None)
            if source.manifest is not None:
                check_server(session, source.manifest.database, checked)
        finally:
            session.close()
        checked.found.append(f"database {job.redacted_url} is {state} and can be loaded into")
        checked.warnings += job.kimai.effects(source.manifest)
    checked.warnings += foresee(job.kimai, source)
    job.kimai.check_cache()
    if only != "database":
        _check_files(job, source, checked)
    return checked


def _state(job: Job, session: Session, passing_over: Collection[tuple[str, str]], *, replace: bool) -> str:
    """What the database is. Raises `InUse` where it may not be replaced, `Refused` where it could not be put back."""
    try:
        fresh = find_fresh(session, passing_over)
    except InUse:
        if not replace:
            raise
        if marked(session) is not None and ("table", MARKER) not in passing_over:
            raise Refused(
                f"database {session.database} bears the mark of a restore whose journal is not in BACKUP_STATE_DIR",
                mend=f"End that restore first, with its BACKUP_STATE_DIR; or drop the table {MARKER}.",
            ) from None
        check_savable(job, session)
        return "in use"
    return "freshly installed" if fresh else "empty"


def check_url(job: Job, checked: Checked) -> None:
    """Kimai must mean the same database as we do: its console and its web server would use another one."""
    named = None if job.is_own_url else job.kimai.own_database_url()
    if not named:
        return
    own, ours = parse(named), parse(job.database_url)
    same_host = own.host == ours.host or {own.host, ours.host} <= _LOOPBACK
    same_place = own.unix_socket == ours.unix_socket if own.unix_socket else same_host and own.port == ours.port
    if own.database == ours.database and not same_place and not job.kimai.shares_network:
        checked.warnings.append(
            f"Kimai's own settings name {own.redacted}, DATABASE_URL names {ours.redacted}: "
            "make sure that both are the same server"
        )
    elif not same_place or own.database != ours.database:
        raise Refused(
            f"Kimai's own settings name {own.redacted}, DATABASE_URL names {ours.redacted}",
            mend="Make both name the same database, or leave DATABASE_URL unset.",
        )


def check_rights(session: Session, backup: Database | None) -> None:
    """Raise `Refused` where the user may not make what the backup holds."""
    kinds = {each.kind for each in backup.objects} if backup else set()
    needed = [*rights.FOR_LOAD, *sorted(rights.for_objects(kinds))]
    lacking = rights.lacking(session, needed)
    if lacking:
        raise Refused(
            f"the database user lacks {', '.join(lacking)} on {session.database}",
            mend=f"As the server's administrator: {rights.grant(session, lacking)}",
        )
    rights.check_code(session, backup.objects if backup else ())


def check_server(session: Session, backup: Database, checked: Checked) -> None:
    """Raise `Refused` for what the server doesn't take of the backup's."""
    check_largest(session, backup)
    unknown = unknown_to(session, backup)
    if unknown:
        raise Refused(
            f"the backup is of {backup.flavour} {backup.server_version}; this server, {session.flavour} "
            f"{session.server_version}, doesn't know what it holds: {'; '.join(unknown[:_SHOWN])}",
            mend=f"Restore on a {backup.flavour} of that version or a newer one.",
        )
    if session.flavour != backup.flavour:
        checked.warnings.append(
            f"the backup is of {backup.flavour} {backup.server_version}, this server is {session.flavour} "
            f"{session.server_version}: rows and digests are compared, definitions are not"
        )
    elif version_number(session.server_version) != version_number(backup.server_version):
        checked.warnings.append(
            f"the server is {session.server_version}, the backup's was {backup.server_version}{_way(session, backup)}"
        )


def _way(session: Session, backup: Database) -> str:
    """What of another release matters: an older series may refuse what a newer one wrote."""
    here, there = series(session.server_version), series(backup.server_version)
    if here == there:
        return ": a definition that differs may only be put in other words, so it is told, and no reason to end"
    which = "a newer series" if here > there else "an older series, which may refuse what it doesn't know"
    return f", of {which}: rows and digests are compared, definitions are not"


def _check_files(job: Job, source: Source, checked: Checked) -> None:
    try:
        alone = mounts_left_alone(job.kimai, source, job.database_url)
    except OSError as error:
        raise Refused(f"KIMAI_DIR {job.kimai.root} can't be looked into: {error}") from error
    checked.found += [f"{path} is mounted by itself and equal already: it stays as it is" for path in alone]
    anew = made_anew(job.kimai, source)
    checked.found += [
        f"{path} is not restored: Kimai's start writes it anew, with the restored secret" for path in anew
    ]
    files = [file for file in source.files if file.path not in (*alone, *anew)]
    checked.found += job.kimai.check(files, moved_by_backup(job.kimai, source))
