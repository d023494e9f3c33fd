"""Tidy up: what `prune` does by itself, retention on each target and whole archives that lost their manifest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sidecar.errors import Exit
from sidecar.prune import Pruned, prune
from sidecar.report.progress import Progress
from sidecar.republish import Republished, republish
from sidecar.retention import Policy
from sidecar.state import State
from sidecar.storage.base import Fetch, Storage


@dataclass(frozen=True)
class Job:
    """What tidying works with."""

    instance_name: str
    storages: Sequence[Storage]
    state: State
    policy_of: Callable[[str], Policy]
    fetch: Fetch
    tz: tzinfo
    progress: Progress


@dataclass(frozen=True)
class Tidied:
    """What became of each target, and of each archive without a manifest."""

    pruned: Sequence[Pruned]
    republished: Republished

    @property
    def exit_code(self) -> Exit:
        """0, or 6 where a target failed. What is damaged and stays so is named, and no failure of this run."""
        failed = self.republished.failed or any(result.failure for result in self.pruned)
        return Exit.STORAGE if failed else Exit.DONE


def tidy(job: Job, *, dry_run: bool) -> Tidied:
    """Prune every target, then publish again what lost its manifest: retention counts that from the next run on."""
    with job.state.lock("prune", of_kimai=False):
        now = datetime.now(UTC)
        pruned = prune(job.storages, job.instance_name, job.policy_of, now, job.tz, dry_run=dry_run)
        failed = {result.target for result in pruned if result.failure}
        answering = [storage for storage in job.storages if storage.name not in failed]
        again = republish(answering, job.instance_name, job.fetch, job.state, now, job.progress, dry_run=dry_run)
        return Tidied(pruned, again)
