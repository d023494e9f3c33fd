"""Doctor: try everything that a backup and a restore need, before the night they are needed."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.catalog import LOCAL, catalog
from sidecar.database import rights
from sidecar.database.scratch import Open, scratch_database
from sidecar.database.server import Session, version_number
from sidecar.database.snapshot import Connect, take, why_alone
from sidecar.database.tables import read_tables
from sidecar.errors import ConfigurationError, Exit, KimaiBackupError
from sidecar.exposed import plain_on_s3
from sidecar.kimai.instance import Instance
from sidecar.storage.base import Storage

_CLOCK_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_SKEW = 120
"""Seconds by which this clock and the database's may differ before it is said."""
_LOOK_AT_KIMAI = "Look at KIMAI_DIR: its disk, its owner, its rights."
_LOOK_AT_DATABASE = "Look at DATABASE_URL, and whether its server can be reached from here."
_LOOK_AT_STATE = "Set BACKUP_STATE_DIR to a folder that this user may write to."
_LOOK_AT_TARGET = "Look at BACKUP_DIR: whether it is mounted, its disk, its rights."


@dataclass(frozen=True)
class Finding:
    """One line: what was tried, what was seen, and the mend for what doesn't work. Code 0 where it works."""

    what: str
    seen: str
    mend: str = ""
    exit_code: Exit = Exit.DONE

    @property
    def good(self) -> bool:
        """Nothing to mend, or nothing that must be."""
        return self.exit_code is Exit.DONE


@dataclass(frozen=True)
class Job:
    """What the doctor looks at. `backup_dir` is None without a local target; `storages` may be empty.

    `remarks` tells what is to be known of the S3 store by now. `kimai` gives the instance, or raises what keeps it
    from being found. `drills`: they run by themselves. `notifiers` gives who is told of runs, what is to be known of
    that, the mend and the code. `scratch` opens a database of the server for drills, where one is set, and
    `scratch_prefix` begins its name.
    """

    instance_name: str
    kimai: Callable[[], Instance]
    connect: Connect
    connections: int
    storages: Sequence[Storage]
    remarks: Callable[[datetime], Iterable[tuple[str, str, str, Exit]]]
    check_state_folder: Callable[[], Path]
    backup_dir: Path | None
    notifiers: Callable[[], Iterable[tuple[str, str, str, Exit]]] = tuple
    scratch: Open | None = None
    scratch_prefix: Callable[[], str] = str
    recipients: Sequence[str] = ()
    keys: Keyring = NO_KEYS
    drills: bool = False


def examine(job: Job) -> list[Finding]:
    """Try everything; a failure is a finding, and the next thing is tried."""
    findings: list[Finding] = []
    for what, probe, code, mend in _PROBES:
        try:
            # What a probe found before it failed stays.
            findings += probe(job)
        except KimaiBackupError as error:
            findings.append(Finding(what, error.what, error.mend, error.exit_code))
        except OSError as error:
            findings.append(Finding(what, str(error), mend, code))
    return findings


def exit_code(findings: Sequence[Finding]) -> Exit:
    """The first failure's code, configuration before reachability before storage; 0 where all is well."""
    return min((finding.exit_code for finding in findings if not finding.good), default=Exit.DONE)


def _kimai(job: Job) -> Iterator[Finding]:
    instance = job.kimai()
    for remark in instance.remarks():
        yield Finding(*remark)
    kimai = instance.identify()
    revision = f", revision {kimai.git_revision[:12]}" if kimai.git_revision else ""
    yield Finding("Kimai", f"version {kimai.version} (by {kimai.version_source}){revision}")
    secret = instance.app_secret()
    if secret is None:
        yield Finding("app secret", "none found: users' sessions and signed links depend on it", "Look for APP_SECRET.")
    else:
        yield Finding("app secret", f"from {secret.source}")


def _files(job: Job) -> Iterator[Finding]:
    survey = job.kimai().survey()
    files = [entry for entry in survey.entries if entry.kind == "file"]
    for entry in files:
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
        yield Finding("files", f"{len(files)} files, {survey.size} bytes, all can be opened")


def _database(job: Job) -> Iterator[Finding]:
    session = job.connect()
    try:
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
    finally:
        session.close()


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


def _snapshot(job: Job) -> Iterator[Finding]:
    if job.connections == 1:
        yield Finding("snapshot", "one connection, as DATABASE_CONNECTIONS says")
        return
    session = job.connect()
    try:
        reason = why_alone(session)
    finally:
        session.close()
    started = time.monotonic()
    with take(job.connect, job.connections) as snapshot:
        shared = len(snapshot.sessions)
    took = time.monotonic() - started
    if shared > 1:
        yield Finding("snapshot", f"{shared} connections share one, taken in {took:.2f} s")
    else:
        yield Finding("snapshot", f"one connection only: {reason or 'the tables could not be locked'}", "It is slower.")


def _state(job: Job) -> Iterator[Finding]:
    folder = job.check_state_folder()
    yield Finding("state folder", f"{folder} can be written to")


def _targets(job: Job) -> Iterator[Finding]:
    """Write, read, list and delete a probe on each target."""
    if not job.storages:
        raise ConfigurationError("there is none, so nothing can be backed up", mend="Set BACKUP_DIR or S3_BUCKET.")
    for storage in job.storages:
        key = f"kimai-backup-probe-{os.getpid()}"
        try:
            storage.put(key, b"probe")
            try:
                with storage.open(key) as stream:
                    same = stream.read() == b"probe"
                listed = any(found.key == key for found in storage.list())
            finally:
                storage.delete(key)
        except KimaiBackupError as error:
            yield Finding(f"target {storage.name}", error.what, error.mend, error.exit_code)
            continue
        except OSError as error:
            yield Finding(f"target {storage.name}", str(error), _LOOK_AT_TARGET, Exit.STORAGE)
            continue
        if same and listed:
            yield Finding(f"target {storage.name}", "writes, reads, lists and deletes")
        else:
            yield Finding(f"target {storage.name}", "does not give back what it was given", "", Exit.STORAGE)


def _store(job: Job) -> Iterator[Finding]:
    """What of the S3 store would surprise later: another clock, versions that stay, rules that delete, locks."""
    for remark in job.remarks(datetime.now(UTC)):
        yield Finding(*remark)


def _room(job: Job) -> Iterator[Finding]:
    """Whether the next backup fits where it grows: as large as the newest one, or as the files for the first.

    Without a local folder that is the state folder, where one that is read back from S3 needs as much.
    """
    if not job.storages:
        return
    if job.backup_dir is not None:
        folder, mend = job.backup_dir, "Make room, or keep fewer backups (RETENTION_DAYS)."
    else:
        folder, mend = job.check_state_folder(), "Make room, or set BACKUP_STATE_DIR to a folder on a larger disk."
    backups = catalog(job.storages, job.instance_name).backups
    needed = backups[0].size if backups else job.kimai().survey().size
    free = shutil.disk_usage(folder).free
    seen = f"{free} bytes free in {folder}, the next backup needs about {needed}"
    if job.backup_dir is None:
        seen += ", to be made and to be read back"
    yield Finding("room", seen) if free >= needed else Finding("room", seen, mend, Exit.STORAGE)


def _encryption(job: Job) -> Iterator[Finding]:
    """Whom backups are encrypted to, and whether what opens them lies here, where it should not."""
    if job.recipients:
        count = len(job.recipients)
        yield Finding("encryption", f"to {count} recipient{'s' if count > 1 else ''}: {', '.join(job.recipients)}")
        yield from _exposed(job)
    elif any(storage.name != LOCAL for storage in job.storages):
        yield Finding(
            "encryption",
            "OFF, AND BACKUPS GO TO S3: whoever can read the bucket reads all of Kimai in them",
            "Make a key, and set BACKUP_ENCRYPT_TO to its public half (README, Encryption).",
        )
    else:
        yield Finding("encryption", "off: whoever can read BACKUP_DIR reads all of Kimai in it")
    if job.keys:
        yield _identity(job)
        yield from _room_to_decrypt(job)
    elif job.recipients and job.drills:
        yield Finding(
            "identity",
            "BACKUP_IDENTITY is not set: drills by DRILL_SCHEDULE will open no encrypted backup",
            "Set BACKUP_IDENTITY_FILE, or drill elsewhere and unset DRILL_SCHEDULE (README, Encryption).",
            Exit.CONFIGURATION,
        )


def _exposed(job: Job) -> Iterator[Finding]:
    away = [storage for storage in job.storages if storage.name != LOCAL]
    if away and (count := plain_on_s3(catalog(away, job.instance_name))):
        yield Finding(
            "encryption",
            f"EARLIER BACKUPS LIE ON S3 NOT ENCRYPTED ({count}): who can read the bucket reads all of Kimai in them",
            "Delete there what is not to lie open; retention does in time (README, Encryption).",
        )


def _identity(job: Job) -> Finding:
    if job.recipients and not job.keys.opens(job.recipients):
        drills = "; drills by DRILL_SCHEDULE will fail" if job.drills else ""
        return Finding(
            "identity",
            f"BACKUP_IDENTITY opens none of what is encrypted from now on{drills}",
            "It may be that of older ones; else look whose key BACKUP_ENCRYPT_TO names (`age-keygen -y FILE`).",
            Exit.CONFIGURATION if job.drills else Exit.DONE,
        )
    seen = "BACKUP_IDENTITY is set: whoever takes over this machine can read every backup that it opens"
    if job.drills:
        return Finding("identity", f"{seen}; drills need it")
    return Finding("identity", seen, "Backups don't need it: keep it elsewhere, and set it for a restore or a drill.")


def _room_to_decrypt(job: Job) -> Iterator[Finding]:
    backups = catalog(job.storages, job.instance_name).backups if job.storages else ()
    newest = next((backup for backup in backups if backup.encrypted), None)
    if newest is not None:
        folder = job.check_state_folder()
        free = shutil.disk_usage(folder).free
        # What lies elsewhere is fetched first.
        needed = newest.size * (1 if LOCAL in newest.targets else 2)
        seen = f"{free} bytes free in {folder}, the newest encrypted backup needs {needed} to be opened"
        mend = "Make room, or set BACKUP_STATE_DIR to a folder on a larger disk."
        room = free >= needed
        yield Finding("room to open", seen) if room else Finding("room to open", seen, mend, Exit.STORAGE)


def _clock(job: Job) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if now < _CLOCK_BEGAN:
        yield Finding(
            "clock",
            f"says {now:%Y-%m-%d %H:%M} UTC",
            "Set the clock: names and retention go by it.",
            Exit.CONFIGURATION,
        )
        return
    session = job.connect()
    try:
        theirs = float(session.value("SELECT UNIX_TIMESTAMP(NOW(6))") or 0)
    finally:
        session.close()
    skew = abs(time.time() - theirs)
    if skew > _SKEW:
        yield Finding("clock", f"is {skew:.0f} s away from the database server's", "Set both by NTP.")
    else:
        yield Finding("clock", f"{now:%Y-%m-%d %H:%M} UTC, as the database server's")


def _scratch(job: Job) -> Iterator[Finding]:
    """The server for drills: whether a database can be made there, with all rights, for what Kimai's server holds."""
    if job.scratch is None:
        return
    what, prefix = "scratch server", job.scratch_prefix()
    with (
        scratch_database(job.scratch, prefix, "utf8mb4", "utf8mb4_unicode_ci") as name,
        closing(job.scratch(name)) as its,
    ):
        lacking = rights.lacking(its, (*rights.FOR_LOAD, *rights.FOR_OBJECTS))
    version, limit = version_number(its.server_version), its.packet_limit
    if lacking:
        code = Exit.REFUSED if {*lacking} & {*rights.FOR_LOAD} else Exit.DONE
        yield Finding(what, f"the user lacks {', '.join(lacking)}", rights.for_drills(prefix), code)
    else:
        yield Finding(what, f"{its.flavour} {its.server_version}, databases {prefix}_drill_… can be made and dropped")
    with closing(job.connect()) as own:
        if own.identity == its.identity:
            yield Finding(what, "is Kimai's own: a drill there slows Kimai down", "Use one beside it (README).")
        if (own.flavour, version_number(own.server_version)) != (its.flavour, version):
            seen = f"Kimai's is {own.flavour} {own.server_version}: a drill compares rows, and no definitions"
            yield Finding(what, seen, "Use the same version for both.")
        if limit < own.packet_limit:
            seen = f"takes statements of {limit} bytes, Kimai's {own.packet_limit}: it may refuse a backup"
            yield Finding(what, seen, f"Set max_allowed_packet to {own.packet_limit} there.")


def _notifiers(job: Job) -> Iterator[Finding]:
    """Whether somebody is told when a backup fails."""
    for found in job.notifiers():
        yield Finding(*found)


_PROBES: tuple[tuple[str, Callable[[Job], Iterator[Finding]], Exit, str], ...] = (
    ("Kimai", _kimai, Exit.CONFIGURATION, _LOOK_AT_KIMAI),
    ("files", _files, Exit.CONFIGURATION, _LOOK_AT_KIMAI),
    ("database", _database, Exit.UNREACHABLE, _LOOK_AT_DATABASE),
    ("snapshot", _snapshot, Exit.UNREACHABLE, _LOOK_AT_DATABASE),
    ("state folder", _state, Exit.CONFIGURATION, _LOOK_AT_STATE),
    ("targets", _targets, Exit.STORAGE, _LOOK_AT_TARGET),
    ("target s3", _store, Exit.STORAGE, _LOOK_AT_TARGET),
    ("room", _room, Exit.STORAGE, _LOOK_AT_TARGET),
    ("encryption", _encryption, Exit.STORAGE, _LOOK_AT_STATE),
    ("clock", _clock, Exit.UNREACHABLE, _LOOK_AT_DATABASE),
    ("scratch server", _scratch, Exit.UNREACHABLE, "Look at DRILL_DATABASE_URL."),
    ("notifications", _notifiers, Exit.CONFIGURATION, "Look at NOTIFY_URLS."),
)
"""Each probe, with code and mend for a fault of the system that nobody told better."""
