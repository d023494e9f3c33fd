"""Tidy up: what `prune` does by itself, leftovers, retention on each target, archives that lost their manifest."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Protocol

from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.errors import Exit, StorageFailed
from sidecar.prune import Pruned, prune
from sidecar.report.progress import Progress
from sidecar.republish import Republished, republish
from sidecar.retention import Policy
from sidecar.state import State
from sidecar.storage.base import Fetch, Storage

log = logging.getLogger(__name__)


class Leftovers(Protocol):
    """What killed runs left half made."""

    def sweep(self, now: datetime, *, dry_run: bool) -> list[str]:
        """Remove it and name it; a dry run only names it."""


@dataclass(frozen=True)
class Job:
    """What tidying works with."""

    instance_name: str
    storages: Sequence[Storage]
    leftovers: Leftovers
    state: State
    policy_of: Callable[[str], Policy]
    fetch: Fetch
    tz: tzinfo
    progress: Progress
    keys: Keyring = NO_KEYS


@dataclass(frozen=True)
class Tidied:
    """What was swept, what became of each target, and of each archive without a manifest."""

    swept: Sequence[str]
    pruned: Sequence[Pruned]
    republished: Republished

    @property
    def exit_code(self) -> Exit:
        """0, or 6 where a target failed. What is damaged and stays so is named, and no failure of this run."""
        failed = self.republished.failed or any(result.failure for result in self.pruned)
        return Exit.STORAGE if failed else Exit.DONE


def tidy(job: Job, *, dry_run: bool) -> Tidied:
    """Sweep, prune, then publish again what lost its manifest: retention counts that from the next run on."""
    with job.state.lock("prune", of_kimai=False):
        job.state.refuse_while_restoring()
        now = datetime.now(UTC)
        swept = _sweep(job, now, dry_run=dry_run)
        known = job.state.damaged.known()
        pruned = prune(job.storages, job.instance_name, job.policy_of, now, job.tz, dry_run=dry_run, damaged=known)
        failed = {result.target for result in pruned if result.failure}
        answering = [storage for storage in job.storages if storage.name not in failed]
        again = republish(
            answering, job.instance_name, job.fetch, job.state, now, job.progress, job.keys, dry_run=dry_run
        )
        return Tidied(swept, pruned, again)


def _sweep(job: Job, now: datetime, *, dry_run: bool) -> list[str]:
    try:
        return job.leftovers.sweep(now, dry_run=dry_run)
    except StorageFailed as error:
        log.warning("what killed runs left can't be looked for: %s", error)
        return []  # What is wrong with the target ends its pruning, and the exit code with it.
