"""Everything that must be right before a restore touches anything: version, database, rights, room."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sidecar.archive.source import Source
from sidecar.database import rights
from sidecar.database.objects import contents
from sidecar.database.server import Session
from sidecar.database.snapshot import Connect
from sidecar.database.url import parse
from sidecar.errors import Refused, Unreachable
from sidecar.kimai import console as asked
from sidecar.kimai.console import Console
from sidecar.kimai.places import Places, room
from sidecar.kimai.userdata import user_data
from sidecar.manifest import Database, File

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SHOWN = 3


@dataclass(frozen=True)
class Target:
    """The Kimai and the database to restore into."""

    connect: Connect
    database_url: str
    own_database_url: str | None
    root: Path
    console: Console
    version_file: str | None


@dataclass
class Checked:
    """What the checks found in order, and what they found worth a warning."""

    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(
    target: Target,
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
    _check_version(target, source, checked, accept_unknown=accept_unknown_version)
    if only != "files":
        _check_url(target)
        session = target.connect()
        try:
            _check_empty(session, passing_over)
            _check_rights(session, source)
            if source.manifest is not None:
                _check_server(session, source.manifest.database, checked)
        finally:
            session.close()
        checked.found.append(f"database {parse(target.database_url).redacted} is empty and can be loaded into")
    _check_cache(target.root)
    if only != "database":
        _check_folders(target, source)
        checked.found.append(f"{target.root} can be written to, with room for all files")
    return checked


def _check_version(target: Target, source: Source, checked: Checked, *, accept_unknown: bool) -> None:
    """The documented rule: restore into exactly the version that was backed up."""
    wanted = source.kimai_version
    try:
        running, _ = asked.read_version(target.console, target.version_file)
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


def _check_url(target: Target) -> None:
    """Kimai must mean the same database as we do: its console and its web server would use another one."""
    if not target.own_database_url:
        return
    own, ours = parse(target.own_database_url), parse(target.database_url)
    same_host = own.host == ours.host or {own.host, ours.host} <= _LOOPBACK
    same_place = own.unix_socket == ours.unix_socket if own.unix_socket else same_host and own.port == ours.port
    if not same_place or own.database != ours.database:
        raise Refused(
            f"Kimai's own .env names {own.redacted}, DATABASE_URL names {ours.redacted}",
            mend="Make both name the same database, or leave DATABASE_URL unset.",
        )


def _check_empty(session: Session, passing_over: Collection[tuple[str, str]]) -> None:
    there = [each for each in contents(session) if each not in passing_over]
    if there:
        shown = ", ".join(f"{kind} {name}" for kind, name in there[:_SHOWN])
        raise Refused(
            f"database {session.database} is not empty: {len(there)} objects, such as {shown}",
            mend="Restore into an empty database: make a new one, or drop and create this one if it can go.",
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
    elif session.server_version != backup.server_version:
        checked.warnings.append(
            f"the server is {session.server_version}, the backup's was {backup.server_version}: "
            "rows and digests are compared, definitions are not"
        )


def _check_folders(target: Target, source: Source) -> None:
    paths = user_data(target.root).paths
    try:
        rooms = room(target.root, source.files, paths)
        folders = [each.folder for each in rooms] + _exchanged_in(target.root, source.files, paths)
    except OSError as error:
        raise Refused(f"KIMAI_DIR {target.root} can't be looked into: {error}") from error
    for each in rooms:
        if each.free < each.needed:
            raise Refused(
                f"{each.folder} has {each.free} bytes free, the files need {each.needed} beside what is there",
                mend="Make room there.",
            )
    for folder in folders:
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Refused(f"{folder} can't be written to", mend="Run the restore as root, or as Kimai's own user.")


def _check_cache(root: Path) -> None:
    """It is emptied at the end: what can't be is better known before everything is loaded."""
    cache = root / "var" / "cache"
    if cache.is_symlink() or (cache.exists() and not os.access(cache, os.W_OK | os.X_OK)):
        raise Refused(
            f"{cache} is a link, or can't be written to, and a restore empties it",
            mend="Make it a folder, and run the restore as root or as Kimai's own user.",
        )


def _exchanged_in(root: Path, files: Iterable[File], paths: Iterable[str]) -> list[Path]:
    """The folders in which a restore renames: the one above each path of user data, a mount itself."""
    mounts = {os.fsdecode(mount) for mount in Places(root, paths).mounts}
    names = [file.path for file in files]
    restored = [path for path in paths if any(name == path or name.startswith(f"{path}/") for name in names)]
    return sorted({root / path if path in mounts else (root / path).parent for path in restored})
