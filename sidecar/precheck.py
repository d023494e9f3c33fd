"""Everything that must be right before a restore touches anything: version, database, rights, room."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from sidecar.archive.source import Source
from sidecar.database import rights
from sidecar.database.server import Session, version_number
from sidecar.database.url import parse
from sidecar.errors import Refused, Unreachable
from sidecar.fresh import find_fresh
from sidecar.kept import made_anew, mounts_left_alone, moved_by_backup
from sidecar.kimai import console as asked
from sidecar.kimai.target import Target
from sidecar.manifest import Database
from sidecar.restore_job import Job

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass
class Checked:
    """What the checks found in order, and what they found worth a warning."""

    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(
    job: Job,
    source: Source,
    *,
    only: Literal["database", "files"] | None,
    accept_unknown_version: bool,
    passing_over: Collection[tuple[str, str]] = (),
) -> Checked:
    """Raise `Refused`, or `Unreachable`, at the first thing that a restore would run into.

    `passing_over`: kind and name of what a killed restore made, and a true run takes back before it looks.
    """
    checked = Checked()
    _check_version(job.kimai, source, checked, accept_unknown=accept_unknown_version)
    if only != "files":
        _check_url(job, checked)
        session = job.connect()
        try:
            fresh = find_fresh(session, passing_over)
            _check_rights(session, source)
            if source.manifest is not None:
                _check_server(session, source.manifest.database, checked)
        finally:
            session.close()
        state = "freshly installed" if fresh else "empty"
        checked.found.append(f"database {job.redacted_url} is {state} and can be loaded into")
        checked.warnings += job.kimai.effects(source.manifest)
    job.kimai.check_cache()
    if only != "database":
        _check_files(job, source, checked)
    return checked


def _check_version(kimai: Target, source: Source, checked: Checked, *, accept_unknown: bool) -> None:
    """The documented rule: restore into exactly the version that was backed up."""
    wanted = source.kimai_version
    try:
        running, _ = asked.read_version(kimai.console, kimai.version_file())
    except Unreachable as error:
        if not accept_unknown:
            raise Refused(
                f"Kimai's version can't be learnt, so nobody knows whether the backup fits it: {error.what}",
                mend="Mend Kimai first, or pass --accept-unknown-version.",
            ) from error
        checked.warnings.append(f"Kimai's version could not be learnt: {error.what}")
        return
    if wanted is None:
        if not accept_unknown:
            raise Refused(
                f"{source.label} doesn't say which version of Kimai it is of; Kimai {running} is installed",
                mend="If you are sure that it is of that version, pass --accept-unknown-version.",
            )
        checked.warnings.append(f"the backup's version is unknown; Kimai {running} is installed")
    elif wanted != running:
        raise Refused(
            f"the backup is of Kimai {wanted}, Kimai {running} is installed",
            mend=f"Install Kimai {wanted} first (git tag {wanted}, image tag apache-{wanted}), restore, then update.",
        )
    else:
        checked.found.append(f"Kimai {running} is installed, and the backup is of that version")


def _check_url(job: Job, checked: Checked) -> None:
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


def _check_rights(session: Session, source: Source) -> None:
    kinds = {each.kind for each in source.manifest.database.objects} if source.manifest else set()
    needed = [*rights.FOR_LOAD, *sorted(rights.for_objects(kinds))]
    lacking = rights.lacking(session, needed)
    if lacking:
        raise Refused(
            f"the database user lacks {', '.join(lacking)} on {session.database}",
            mend=f"As the server's administrator: {rights.grant(session, lacking)}",
        )


def _check_server(session: Session, backup: Database, checked: Checked) -> None:
    if backup.largest_statement > session.packet_limit:
        raise Refused(
            f"the dump holds a statement of {backup.largest_statement} bytes, the server takes {session.packet_limit}",
            mend=f"Set max_allowed_packet to {backup.largest_statement + 1024} or more on the server.",
        )
    if session.flavour != backup.flavour:
        checked.warnings.append(
            f"the backup is of {backup.flavour} {backup.server_version}, this server is {session.server_version}"
        )
    elif version_number(session.server_version) != version_number(backup.server_version):
        checked.warnings.append(
            f"the server is {session.server_version}, the backup's was {backup.server_version}: "
            "rows and digests are compared, definitions are not"
        )


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
