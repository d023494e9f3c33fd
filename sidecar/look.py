"""A look at the targets: what lies on each, and what retention says of it, for those who only want to know."""

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from sidecar.catalog import Backup, catalog
from sidecar.errors import StorageFailed
from sidecar.retention import Candidate, Decision, Policy, plan
from sidecar.status import Kept, Look, Shelf
from sidecar.storage.base import Storage


def look(
    storages: Sequence[Storage], instance: str, policy_of: Callable[[str], Policy], now: datetime, tz: tzinfo
) -> Look:
    """List every target once; one that can't be listed says why, and the others are there all the same."""
    shelves = [_shelf(storage, instance, policy_of(storage.name), now, tz) for storage in storages]
    return Look(taken_at=now, shelves=shelves)


def _shelf(storage: Storage, instance: str, policy: Policy, now: datetime, tz: tzinfo) -> Shelf:
    try:
        listing = catalog([storage], instance)
    except StorageFailed as error:
        return Shelf(target=storage.name, problem=str(error))
    candidates = [Candidate(backup.id, backup.proven, backup.damaged) for backup in listing.backups]
    decisions = {decision.id: decision for decision in plan(candidates, policy, now, tz)}
    return Shelf(
        target=storage.name,
        backups=[_kept(backup, decisions[backup.id]) for backup in listing.backups],
        strays=[stray.key for stray in (*listing.orphans, *listing.broken)],
    )


def _kept(backup: Backup, decision: Decision) -> Kept:
    return Kept(
        id=str(backup.id),
        created_at=backup.id.created_at,
        kimai_version=backup.id.kimai_version,
        size=backup.size,
        encrypted=backup.encrypted,
        proven=backup.proven,
        damaged=backup.damaged,
        safety=backup.id.safety,
        keep=decision.keep,
        reasons=list(decision.reasons),
    )
