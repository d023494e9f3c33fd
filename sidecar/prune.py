"""Delete what retention gives up: on each target only what is ours, the manifest first, with a reason."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from sidecar.catalog import Copy, Stray, catalog, read_manifest
from sidecar.errors import Damaged, ObjectNotFound, StorageFailed
from sidecar.manifest import BackupId
from sidecar.names import failed_key, manifest_key, proof_key
from sidecar.retention import Candidate, Decision, Policy, plan
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)


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


def prune(
    storages: Sequence[Storage], instance: str, policy: Policy, now: datetime, tz: tzinfo, *, dry_run: bool
) -> list[Pruned]:
    """Apply the policy to each target by itself; a dry run decides the same and deletes nothing.

    A target that fails is told in its result and doesn't keep the others from being pruned. The caller
    holds the instance's lock, and calls this only after a run that succeeded.
    """
    return [_prune_target(storage, instance, policy, now, tz, dry_run=dry_run) for storage in storages]


def _prune_target(
    storage: Storage, instance: str, policy: Policy, now: datetime, tz: tzinfo, *, dry_run: bool
) -> Pruned:
    result = Pruned(storage.name)
    try:
        listing = catalog([storage], instance)
        strays = listing.orphans + listing.broken
        copies = {backup.id: backup.copies[0] for backup in listing.backups}
        result = replace(result, strays=strays, decisions=_decide(storage, copies, policy, now, tz))
        for stray in strays:
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
    storage: Storage, copies: dict[BackupId, Copy], policy: Policy, now: datetime, tz: tzinfo
) -> tuple[Decision, ...]:
    """The plan, but for what it would delete that isn't ours; only the manifests of those are read."""
    planned = plan(
        (Candidate(backup_id, copy.proven, copy.damaged) for backup_id, copy in copies.items()),
        policy,
        now,
        tz,
    )
    return tuple(decision if decision.keep else _unless_not_ours(storage, decision) for decision in planned)


def _unless_not_ours(storage: Storage, decision: Decision) -> Decision:
    """Keep what isn't shown to be ours: a name can be anybody's."""
    try:
        read_manifest(storage, decision.id)
    except (Damaged, ObjectNotFound) as error:
        log.warning("%s on %s is left alone: %s", decision.id, storage.name, error)
        return Decision(decision.id, keep=True, reasons=(f"its manifest isn't ours: {error.what}",))
    return decision


def _delete(storage: Storage, copy: Copy, decision: Decision) -> None:
    """The manifest goes first: killed at any point, what is left doesn't look like a backup."""
    storage.delete(manifest_key(decision.id))
    storage.delete(copy.archive_key)
    storage.delete(proof_key(decision.id))
    storage.delete(failed_key(decision.id))
    log.info("deleted %s from %s: %s", decision.id, storage.name, ", ".join(decision.reasons))
