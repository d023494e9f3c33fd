"""Delete what retention gives up: on each target only what is ours, the manifest first, with a reason."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from sidecar.catalog import Copy, Stray, catalog, read_manifest
from sidecar.damaged import DamagedArchive
from sidecar.errors import Damaged, ObjectNotFound, StorageFailed
from sidecar.manifest import BackupId
from sidecar.names import ARCHIVE_SUFFIXES, failed_key, manifest_key, proof_key
from sidecar.retention import Candidate, Decision, Policy, plan
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

_PATIENCE = 20
"""How many damaged ones are looked past: where there are more, it is rather the target, or this version, that errs."""
_NO_END = f"nothing is given up here: {_PATIENCE} or more of the newest are damaged. Look at the target first"
_UNCOUNTED = "kept, but not counted: `kimai-backup verify {}`"


Plan = Callable[[Iterable[Candidate]], list[Decision]]
Decide = Callable[[Storage, dict[BackupId, Copy]], tuple[Decision, ...]]


@dataclass(frozen=True)
class Pruned:
    """What became of one target: a decision for each backup, newest first, and the IDs that were deleted.

    `strays` belong to no whole backup and are left alone; `failure` is what ended the work here early.
    """

    target: str
    decisions: tuple[Decision, ...] = ()
    deleted: tuple[BackupId, ...] = ()
    strays: tuple[Stray, ...] = ()
    failure: StorageFailed | None = None

    @property
    def broken(self) -> tuple[Stray, ...]:
        """The strays that are no archive: nothing can be made of them. Of the archives, `republish` tells."""
        return tuple(stray for stray in self.strays if not stray.key.endswith(ARCHIVE_SUFFIXES))


def prune(
    storages: Sequence[Storage],
    instance: str,
    policy_of: Callable[[str], Policy],
    now: datetime,
    tz: tzinfo,
    *,
    dry_run: bool,
    coming: BackupId | None = None,
    apart: Set[tuple[str, BackupId]] = frozenset(),
    damaged: Iterable[DamagedArchive] = (),
) -> list[Pruned]:
    """Apply to each target the policy that its name has; a dry run decides the same and deletes nothing.

    With `coming`, a dry run decides as if that backup were there already: what its own prune would do. `apart`, by
    target and ID, is neither counted nor deleted: what this run made a backup again, as no dry run told its fate.
    `damaged` is what was read before and found so: it is neither counted nor deleted either.
    A target that fails is told in its result and doesn't keep the others from being pruned. The caller
    holds the instance's lock, and calls this only after a run that succeeded.
    """

    whys = {each.place: each.why for each in damaged}

    def decide(storage: Storage, copies: dict[BackupId, Copy]) -> tuple[Decision, ...]:
        known = _known_damaged(storage, copies, whys)
        return _decide(storage, copies, lambda found: plan(found, policy_of(storage.name), now, tz), coming, known)

    dry_run = dry_run or coming is not None
    return [_prune_target(storage, instance, decide, apart, dry_run=dry_run) for storage in storages]


def _prune_target(
    storage: Storage, instance: str, decide: Decide, apart: Set[tuple[str, BackupId]], *, dry_run: bool
) -> Pruned:
    result = Pruned(storage.name)
    try:
        listing = catalog([storage], instance)
        strays = listing.orphans + listing.broken
        copies = {each.id: each.copies[0] for each in listing.backups if (storage.name, each.id) not in apart}
        result = replace(result, strays=strays, decisions=decide(storage, copies))
        for stray in listing.broken:  # The others are told of by `republish`.
            log.warning("%s on %s is no whole backup: left alone", stray.key, stray.target)
        if not dry_run:
            for decision in result.decisions:
                if not decision.keep:
                    _delete(storage, copies[decision.id], decision)
                    result = replace(result, deleted=(*result.deleted, decision.id))
    except StorageFailed as error:
        log.error("pruning %s ended early: %s", storage.name, error)  # noqa: TRY400 - one line, no traceback
        return replace(result, failure=error)
    return result


def _decide(
    storage: Storage,
    copies: dict[BackupId, Copy],
    planned_of: Plan,
    coming: BackupId | None,
    known: Mapping[BackupId, str],
) -> tuple[Decision, ...]:
    """The plan, made with what the manifests tell of the backups that it rests on and of those that it gives up.

    What stands for the newest is looked at until enough is whole, so that no archive that was cut takes the place
    of one that can be restored; the other manifests are not read. `known`: what is damaged, and why.
    """
    problems: dict[BackupId, str | None] = {coming: None} if coming else {}
    while True:
        candidates = [
            Candidate(backup_id, copy.proven, copy.damaged or bool(known.get(backup_id) or problems.get(backup_id)))
            for backup_id, copy in copies.items()
        ]
        planned = planned_of([*candidates, Candidate(coming)] if coming else candidates)
        unseen = [each.id for each in planned if each.counted and each.id not in problems]
        lost_patience = sum(problem is not None for problem in problems.values()) >= _PATIENCE
        if not unseen or lost_patience:
            break
        problems |= {backup_id: _problem(storage, backup_id, copies[backup_id]) for backup_id in unseen}
    planned = [each for each in planned if each.id != coming]
    for each in planned:
        if not each.keep:
            problems[each.id] = (
                _NO_END if unseen else known.get(each.id) or _why_left(storage, each.id, copies[each.id])
            )
    problems |= known
    return tuple(_keep(each, problem) if (problem := problems.get(each.id)) else each for each in planned)


def _known_damaged(
    storage: Storage, copies: dict[BackupId, Copy], whys: Mapping[tuple[str, str, int], str]
) -> dict[BackupId, str]:
    """Of these copies those that were found damaged before, and the reason to give. Said in the log as well."""
    found = {}
    for backup_id, copy in copies.items():
        why = whys.get((storage.name, copy.archive_key, copy.size))
        if why is not None:
            log.warning("%s on %s is left alone: damaged: %s", backup_id, storage.name, why)
            found[backup_id] = f"damaged: {why}; {_UNCOUNTED.format(backup_id)}"
    return found


def _keep(decision: Decision, reason: str) -> Decision:
    """Keep what is not as it should be: nobody has looked at it yet, and a name can be anybody's."""
    return Decision(decision.id, keep=True, reasons=(reason, *(decision.reasons if decision.keep else ())))


def _why_left(storage: Storage, backup_id: BackupId, copy: Copy) -> str | None:
    """Why what retention gives up stays all the same: it is not shown to be ours, or the target holds on to it.

    A store with versions would hide what is locked, and go on keeping it for money.
    """
    return _problem(storage, backup_id, copy) or _lock(storage, (manifest_key(backup_id), copy.archive_key))


def _lock(storage: Storage, keys: Iterable[str]) -> str | None:
    for key in keys:
        try:
            locked = storage.stat(key).locked
        except ObjectNotFound:
            continue
        if locked is not None:
            return f"{locked} by the store"
    return None


def _problem(storage: Storage, backup_id: BackupId, copy: Copy) -> str | None:
    """Why a copy is not shown to be a backup of ours: its manifest, or a size that is not the manifest's.

    Said in the log as well. Raises `StorageFailed`.
    """
    try:
        archive = read_manifest(storage, backup_id).archive
    except (Damaged, ObjectNotFound) as error:
        log.warning("%s on %s is left alone: %s", backup_id, storage.name, error)
        return f"its manifest isn't ours: {error.what}"
    if archive is None or archive.size == copy.size:
        return None
    problem = f"damaged: {copy.archive_key} has {copy.size} bytes, its manifest says {archive.size}"
    log.warning("%s on %s is left alone: %s", backup_id, storage.name, problem)
    return f"{problem}; {_UNCOUNTED.format(backup_id)}"


def _delete(storage: Storage, copy: Copy, decision: Decision) -> None:
    """The manifest goes first: killed at any point, what is left doesn't look like a backup."""
    storage.delete(manifest_key(decision.id))
    storage.delete(copy.archive_key)
    storage.delete(proof_key(decision.id))
    storage.delete(failed_key(decision.id))
    log.info("deleted %s from %s: %s", decision.id, storage.name, ", ".join(decision.reasons))
