"""Back up: read the version, pack database and files in one streaming zip, publish it on each target, prune."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from sidecar import __version__
from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.before import lacks_of, look_back
from sidecar.damaged import DamagedArchive, learnt
from sidecar.database.dump import Dump
from sidecar.database.snapshot import take
from sidecar.errors import Exit, StorageFailed
from sidecar.exposed import warn_of_plain
from sidecar.kimai.survey import Survey
from sidecar.making import Means, make, new_id, refuse_half_restored
from sidecar.manifest import BackupId, Kimai, Manifest
from sidecar.missed import send_missed
from sidecar.prune import Pruned, prune
from sidecar.republish import Republished, republish
from sidecar.retention import Policy
from sidecar.storage.base import Fetch

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job(Means):
    """What a backup works with, beside what it is made with."""

    policy_of: Callable[[str], Policy]
    fetch: Fetch
    tz: tzinfo
    keys: Keyring = NO_KEYS


@dataclass
class Outcome:
    """How a backup ended: its manifest, where it lies, what was pruned, and the exit code.

    `failed` are targets by name that did not take all they should have, `shrank` tells what the backup before this one
    had and this one lacks, `unknown` why nobody knows that, `republished` what became of archives that had no
    manifest. `sent` are earlier backups that a target had missed, `left` those that are still to be sent, `damaged`
    those that could not be sent, as they are damaged here or can't be read.
    """

    manifest: Manifest
    targets: list[str] = field(default_factory=list)
    failed: dict[str, StorageFailed] = field(default_factory=dict)
    republished: Republished = field(default_factory=Republished)
    sent: list[str] = field(default_factory=list)
    left: list[BackupId] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    pruned: list[Pruned] = field(default_factory=list)
    shrank: str | None = None
    unknown: str | None = None
    not_pruned: str | None = None

    @property
    def exit_code(self) -> Exit:
        """0, or 3 where something could not be read, changed while it was read, or missed a target."""
        manifest = self.manifest
        lacks = manifest.missing or manifest.unreadable or manifest.changed or manifest.database.unreadable
        prune_failed = any(result.failure for result in self.pruned)
        in_part = lacks or self.failed or self.left or self.damaged or prune_failed
        return Exit.PARTIAL if in_part else Exit.DONE


@dataclass(frozen=True)
class Rehearsal:
    """What a backup would read, and what its prune would do, or why it would not."""

    kimai: Kimai
    survey: Survey
    tables: int
    republished: Republished
    pruned: Sequence[Pruned] = ()
    not_pruned: str | None = None

    @property
    def exit_code(self) -> Exit:
        """As the backup's, as far as it can be foreseen."""
        lacks = self.survey.missing or self.survey.unreadable or self.republished.failed
        return Exit.PARTIAL if lacks or any(result.failure for result in self.pruned) else Exit.DONE


def backup(job: Job, *, with_prune: bool = True) -> Outcome:
    """Make one backup and publish it on every target. Raises `StorageFailed` where no target took it."""
    began = time.monotonic()
    with job.state.lock("backup"):
        job.state.refuse_while_restoring()
        job.spool.sweep(datetime.now(UTC))
        before = look_back(job.storages, job.instance_name, job.state.manifests)
        warn_of_plain(job.storages, before.exposed, encrypts=bool(job.recipients))
        kimai = job.instance.identify()
        made = make(job, new_id(job.instance_name, kimai.version, before.taken), kimai, before, job.instance.identify)
        outcome = Outcome(made.manifest, made.targets, made.failed)
        _tell(outcome)
        _publish_again(job, outcome)
        rotten = _send_missed(job, outcome, lambda: time.monotonic() - began)
        tables = {table.name for table in made.manifest.database.tables}
        outcome.shrank = before.what_is_gone(lacks_of(made.manifest), tables)
        outcome.unknown = before.why_unknown
        # Why old backups stay: this one missed a target, or lacks what the one before it had (invariant 2).
        failed = "a target failed" if outcome.failed else None
        outcome.not_pruned = failed or outcome.shrank or outcome.unknown if with_prune else "--no-prune"
        if outcome.not_pruned is None:
            job.progress.phase("prune")
            outcome.pruned = prune(
                job.storages,
                job.instance_name,
                job.policy_of,
                datetime.now(UTC),
                job.tz,
                dry_run=False,
                # What is still to be sent is not lost before it was.
                apart=outcome.republished.fresh | {(job.storages[0].name, each) for each in outcome.left},
                damaged=job.state.damaged.known() + rotten,
            )
        elif with_prune:
            log.warning("nothing is pruned: %s", outcome.not_pruned)
        return outcome


def rehearse(job: Job, *, with_prune: bool = True) -> Rehearsal:
    """What a backup would read and its prune do, without writing anything."""
    job.state.refuse_cut_short()
    kimai = job.instance.identify()
    before = look_back(job.storages, job.instance_name, job.state.manifests)
    survey = before.survey(job.instance)
    with take(job.connect, 1) as snapshot:
        refuse_half_restored(snapshot, job.state)
        tables = {table.name for table in Dump(snapshot, tool_version=__version__).schema.tables}
    gone = before.what_is_gone({*survey.missing, *survey.unreadable}, tables)
    not_pruned = gone or before.why_unknown if with_prune else "--no-prune"
    again = republish(
        job.storages, job.instance_name, job.fetch, job.state, datetime.now(UTC), job.progress, job.keys, dry_run=True
    )
    if again.failed:
        not_pruned = not_pruned or "a target failed"
    pruned: Sequence[Pruned] = ()
    if not_pruned is None:
        coming = new_id(job.instance_name, kimai.version, before.taken)
        # One made within this very second moves the new ID on by one.
        now = max(datetime.now(UTC), coming.created_at)
        known = job.state.damaged.known()
        pruned = prune(
            job.storages, job.instance_name, job.policy_of, now, job.tz, dry_run=True, coming=coming, damaged=known
        )
    return Rehearsal(kimai, survey, len(tables), again, pruned, not_pruned)


def _tell(outcome: Outcome) -> None:
    manifest = outcome.manifest
    for kind, names in (
        ("missing", manifest.missing),
        ("unreadable", manifest.unreadable),
        ("unreadable in the database", manifest.database.unreadable),
        ("changed while it was read", manifest.changed),
        ("note", manifest.warnings),
    ):
        for name in names:
            log.warning("%s: %s", kind, name)
    log.info("%s is on %s", manifest.id, ", ".join(outcome.targets))


def _publish_again(job: Job, outcome: Outcome) -> None:
    """What lost its manifest gets it back, on each target that took this backup: the others would only fail again."""
    storages = [storage for storage in job.storages if storage.name in outcome.targets]
    outcome.republished = republish(
        storages, job.instance_name, job.fetch, job.state, datetime.now(UTC), job.progress, job.keys
    )
    outcome.failed |= outcome.republished.failed


def _send_missed(job: Job, outcome: Outcome, seconds_gone: Callable[[], float]) -> list[DamagedArchive]:
    """To each target that took this backup, those that it had missed of the first one's, which is the local one.

    What is not fit to be sent is given, as prune must not count it; what of it is damaged is kept in mind for later.
    """
    source, *others = job.storages
    rotten: list[DamagedArchive] = []
    if source.name not in outcome.targets:
        return rotten
    for target in others:
        if target.name in outcome.targets:
            policy = job.policy_of(target.name)
            sent = send_missed(
                source,
                target,
                job.instance_name,
                policy,
                datetime.now(UTC),
                job.tz,
                job.fetch,
                job.progress,
                seconds_gone,
                encrypted_only=bool(job.recipients),
            )
            outcome.left += sent.left
            outcome.sent += sent.ids
            if sent.failed is not None:
                outcome.failed[target.name] = sent.failed
            outcome.damaged += sent.unfit
            rotten += sent.unfit.values()
            damaged = [each for each in sent.unfit.values() if (each.target, each.key) in sent.looked_at]
            job.state.damaged.change(learnt(sent.looked_at, damaged))
    return rotten
