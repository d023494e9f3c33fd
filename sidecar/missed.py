"""What a target missed while it was away: every backup that lies on the local one and not there is sent after."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path

from sidecar import __version__
from sidecar.catalog import LOCAL, PROOF_LIMIT, Backup, catalog, read_manifest
from sidecar.damaged import DamagedArchive
from sidecar.errors import Damaged, ObjectNotFound, StorageFailed
from sidecar.manifest import Archive, BackupId, Manifest
from sidecar.names import proof_key
from sidecar.publish import put_backup
from sidecar.report.progress import Progress
from sidecar.retention import Candidate, Policy, plan
from sidecar.storage.base import Fetch, Storage

log = logging.getLogger(__name__)

HOURS = 6
"""How long after a run's beginning one more is begun: it holds the lock, which the next night's run is to find free."""


@dataclass
class Sent:
    """The IDs that a target has now got, what ended that early, and the local copies that could not be sent, by ID.

    `left` are those that are still to be sent, as time was up. `looked_at` is every archive that was read to its end,
    by target and key: of those, what is unfit is damaged.
    """

    ids: list[str] = field(default_factory=list)
    failed: StorageFailed | None = None
    unfit: dict[str, DamagedArchive] = field(default_factory=dict)
    left: list[BackupId] = field(default_factory=list)
    looked_at: set[tuple[str, str]] = field(default_factory=set)


class _Gone(Exception):
    """The source no longer has it."""


class _Unfit(Exception):
    """What the source has can't be sent: it is damaged, or, `unread`, nobody knows. No fault of the target's."""

    def __init__(self, error: Damaged | StorageFailed) -> None:
        super().__init__(str(error))
        self.unread = isinstance(error, StorageFailed)


def send_missed(
    source: Storage,
    target: Storage,
    instance: str,
    policy: Policy,
    now: datetime,
    tz: tzinfo,
    fetch: Fetch,
    progress: Progress,
    seconds_gone: Callable[[], float],
    *,
    encrypted_only: bool = False,
) -> Sent:
    """Put on the target what `source` holds and the target's own retention would keep, newest first.

    A copy is sent only where it is whole: what is damaged must not look like a second, whole one. `seconds_gone` since
    the run began: after `HOURS` no further one is begun. `encrypted_only`: what is not encrypted stays here, and is
    counted in the log.
    """
    sent = Sent()
    try:
        there = catalog([target], instance).backups
        absent = _absent(source, there, instance)
        if encrypted_only:
            absent = _encrypted(absent, target)
        missing = _worth_keeping(absent, there, policy, now, tz)
        for number, backup in enumerate(missing):
            if seconds_gone() > HOURS * 3600:
                sent.left = [each.id for each in missing[number:]]
                log.warning(
                    "%s earlier backups are still to be sent to %s: the run began %s hours ago, the next one goes on",
                    len(sent.left),
                    target.name,
                    HOURS,
                )
                break
            progress.phase(f"send {backup.id} to {target.name}")
            _try(source, target, backup, fetch, sent)
    except StorageFailed as error:
        log.error("target %s failed: %s", target.name, error)  # noqa: TRY400 - one line
        sent.failed = error
    return sent


def _try(source: Storage, target: Storage, backup: Backup, fetch: Fetch, sent: Sent) -> None:
    """Send one, or note what is wrong with it. Raises `StorageFailed` for the target."""
    place = source.name, backup.copies[0].archive_key
    try:
        _send(source, target, backup, fetch)
    except _Gone as gone:
        log.warning("%s is not sent to %s, as it is gone: %s", backup.id, target.name, gone)
    except _Unfit as unfit:
        log.error("%s is not sent to %s: %s", backup.id, target.name, unfit)  # noqa: TRY400 - one line
        sent.unfit[str(backup.id)] = _damaged(source, backup, str(unfit))
        if not unfit.unread:
            sent.looked_at.add(place)
    else:
        log.info("%s, which target %s had missed, is there now", backup.id, target.name)
        sent.looked_at.add(place)
        sent.ids.append(str(backup.id))


def _absent(source: Storage, there: Sequence[Backup], instance: str) -> list[Backup]:
    present = {backup.id for backup in there}
    return [backup for backup in catalog([source], instance).backups if backup.id not in present and not backup.damaged]


def _encrypted(absent: Sequence[Backup], target: Storage) -> list[Backup]:
    """Who has set BACKUP_ENCRYPT_TO wants nothing open to leave this machine, of the nights before neither."""
    if plain := sum(not backup.encrypted for backup in absent):
        log.warning(
            "earlier backups that are not sent to %s, as they are not encrypted and BACKUP_ENCRYPT_TO is set: %s; "
            "they stay on %s alone",
            target.name,
            plain,
            LOCAL,
        )
    return [backup for backup in absent if backup.encrypted]


def _worth_keeping(
    missing: Sequence[Backup], there: Sequence[Backup], policy: Policy, now: datetime, tz: tzinfo
) -> list[Backup]:
    candidates = [Candidate(backup.id, backup.proven, backup.damaged) for backup in there]
    candidates += [Candidate(backup.id, backup.proven) for backup in missing]
    kept = {decision.id for decision in plan(candidates, policy, now, tz) if decision.keep}
    return [backup for backup in missing if backup.id in kept]


def _send(source: Storage, target: Storage, backup: Backup, fetch: Fetch) -> None:
    """Raises `_Gone` and `_Unfit` for the one backup, `StorageFailed` for the target."""
    with ExitStack() as held:
        try:
            manifest, archive, path = _whole_copy(source, backup, fetch, held)
        except ObjectNotFound as error:
            raise _Gone(str(error)) from error
        except (Damaged, StorageFailed) as error:
            raise _Unfit(error) from error
        put_backup(target, backup.copies[0].archive_key, backup.id, manifest, archive, path)
    if backup.proven and (proof := _proof(source, backup)) is not None:
        # It is of the archive, wherever that lies: retention there is not to give up the newest proven one.
        target.put(proof_key(backup.id), proof)


def _proof(source: Storage, backup: Backup) -> bytes | None:
    """The proof beside the source's copy; without one that can be read the backup is sent all the same."""
    try:
        with source.open(proof_key(backup.id)) as stream:
            found = stream.read(PROOF_LIMIT + 1)
    except (Damaged, StorageFailed) as error:
        log.warning("the proof of %s is not sent: %s", backup.id, error)
        return None
    if len(found) > PROOF_LIMIT:
        log.warning("the proof of %s is not sent: it is larger than %s bytes", backup.id, PROOF_LIMIT)
        return None
    return found


def _whole_copy(source: Storage, backup: Backup, fetch: Fetch, held: ExitStack) -> tuple[Manifest, Archive, Path]:
    key = backup.copies[0].archive_key
    manifest = read_manifest(source, backup.id)
    if manifest.archive is None:
        raise Damaged(f"the manifest beside {key} does not say what the archive is")
    path = held.enter_context(fetch(source, key))
    if _sha256(path) != manifest.archive.sha256:
        raise Damaged(f"{key} on {source.name} is not the zip that was stored: its SHA-256 differs")
    return manifest, manifest.archive, path


def _damaged(source: Storage, backup: Backup, why: str) -> DamagedArchive:
    key = backup.copies[0].archive_key
    return DamagedArchive(target=source.name, key=key, size=backup.size, why=why, tool_version=__version__)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ObjectNotFound(f"there is no {path.name} any more") from error
    except OSError as error:
        raise StorageFailed(f"{path.name} can't be read: {error.strerror}") from error
