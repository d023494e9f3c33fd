"""The safety backup: all of an instance in use, made while it is at rest and read back before a restore replaces it."""

from datetime import UTC, datetime

from sidecar.before import Before, look_back
from sidecar.brief import some
from sidecar.database import rights
from sidecar.database.definitions import read_schema
from sidecar.database.server import Session
from sidecar.database.split import split
from sidecar.database.statements import admit
from sidecar.errors import Refused, Unreachable
from sidecar.exposed import warn_of_plain
from sidecar.making import make, new_id
from sidecar.manifest import Kimai, Manifest
from sidecar.restore_job import BLOCK, Job, Report
from sidecar.wish import Allowed

UNKNOWN_VERSION = "unknown"
"""What stands for Kimai's version in the ID of a safety backup where nobody could tell it."""
_SHOWN = 5


def check_savable(job: Job, session: Session) -> None:
    """Raise unless a safety backup could bring back all that the database holds: what is replaced is dropped.

    `Refused` for what the user can't see, read or make anew, and for the history of system-versioned tables, which
    no dump holds; `ConfigurationError` where it would be encrypted and no key is there to put it back.
    """
    job.require_key()
    schema = read_schema(session)
    lost = [*schema.unreadable, *(f"{what}, if there are any: the user may not see them" for what in schema.unseen)]
    lost += [f"the history of table {table.name}" for table in schema.tables if table.versioned]
    if lost:
        raise Refused(
            f"a safety backup could not bring back all that is in {session.database}: {'; '.join(lost[:_SHOWN])}",
            mend="Give the user all rights on that database, or make a new one and restore into that.",
        )
    rights.check_code(session, schema.objects)
    if strangers := _of_others(session):
        raise Refused(
            f"MySQL lets only their definers, or SYSTEM_USER, drop what there is: {', '.join(strangers[:_SHOWN])}",
            mend="Let the server's administrator drop these and make them anew with Kimai's user as DEFINER.",
        )
    # Nobody may write between the comparison with the safety backup and the drop.
    needed = rights.for_objects({each.kind for each in schema.objects}) | {"LOCK TABLES"}
    if lacking := rights.lacking(session, sorted(needed)):
        raise Refused(
            f"the database user lacks {', '.join(lacking)} on {session.database}: "
            "what is there could not be replaced, or not put back",
            mend=f"As the server's administrator: {rights.grant(session, lacking)}",
        )


def _of_others(session: Session) -> list[str]:
    """Events, views, routines whose definer may be a system user: without that right MySQL drops none of his (1227)."""
    if session.flavour != "mysql":
        return []
    found = session.texts(
        "SELECT 'event', EVENT_NAME FROM information_schema.EVENTS "
        "WHERE EVENT_SCHEMA = DATABASE() AND DEFINER <> CURRENT_USER() "
        "UNION ALL SELECT 'view', TABLE_NAME FROM information_schema.VIEWS "
        "WHERE TABLE_SCHEMA = DATABASE() AND DEFINER <> CURRENT_USER() "
        "UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA = DATABASE() AND DEFINER <> CURRENT_USER()"
    )
    sql = "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'SYSTEM_USER' LIMIT 1"
    return [] if not found or session.query(sql) else [f"{kind} {name}" for kind, name in found]


def identify(job: Job, allowed: Allowed) -> Kimai:
    """The Kimai that is to be saved, asked while its console still runs. Raises `Unreachable`."""
    try:
        return job.means().instance.identify()
    except Unreachable:
        if not allowed.unknown_version:
            raise
        return Kimai(version=UNKNOWN_VERSION, version_source="nobody told")


def save(job: Job, kimai: Kimai, report: Report) -> Manifest:
    """Make the safety backup on every target, read it back, and tell what it holds.

    Raises `Refused` where it lacks anything, and whatever making a backup does; nothing was touched then.
    """
    means = job.means()
    # A backup or prune of that instance holds Kimai's lock as well, but a prune of its targets alone does not.
    with job.state.lock_of(means.instance_name, "restore"):
        means.spool.sweep(datetime.now(UTC))
        before = look_back(means.storages, means.instance_name, means.state.manifests)
        warn_of_plain(means.storages, before.exposed, encrypts=bool(means.recipients))
        backup_id = new_id(means.instance_name, kimai.version, before.taken, safety=True)
        # At rest it can't be updated meanwhile, nor has it a console to ask.
        made = make(means, backup_id, kimai, before, lambda: kimai)
    _check_whole(made.manifest)
    if gone := _gone(made.manifest, before):
        # It may be why this is restored; or a disk isn't mounted, and what lies there is not saved.
        report.note(f"{some(gone, _SHOWN)} of the backup before is not there, and not in the safety backup")
    _read_back(job, str(backup_id))
    for name, error in made.failed.items():
        report.note(f"the safety backup is not on {name}: {error}")
    report.safety = str(backup_id)
    report.step(f"safety backup {backup_id} is on {', '.join(made.targets)}, read back and fit to be loaded")
    return made.manifest


def _gone(manifest: Manifest, before: Before) -> list[str]:
    return [path for path in manifest.missing if before.manifest and path not in before.manifest.missing]


def _check_whole(manifest: Manifest) -> None:
    """What a backup may lack, a safety backup may not: the old files are deleted once the restore counts."""
    database = manifest.database
    lacks = [*manifest.unreadable, *database.unreadable, *(f"{path} (changed)" for path in manifest.changed)]
    if lacks:
        raise Refused(
            f"the safety backup {manifest.id} lacks {', '.join(lacks[:_SHOWN])}, so nothing is replaced",
            mend="Let kimai-backup read it, and stop what writes to it, such as a web server of Kimai's.",
        )


def _read_back(job: Job, backup_id: str) -> None:
    """As a rollback would find it: every byte as its manifest says, every statement one that a load lets through."""
    with job.reopen(backup_id) as source:
        job.progress.phase("read the safety backup back", total=source.size)
        source.verify(job.progress.advance)
        session = job.connect()
        try:
            with source.open(source.database_name) as sql:
                for statement in split(iter(lambda: sql.read(BLOCK), b""), largest=session.packet_limit):
                    admit(statement, session.database)
        finally:
            session.close()
