"""What is kept of a use case's outcome with its run: exit code, one sentence, and the figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sidecar.brief import amount, some

if TYPE_CHECKING:
    from sidecar.backup import Outcome
    from sidecar.drill import Outcome as Drill
    from sidecar.prune import Pruned
    from sidecar.recorder import Recording
    from sidecar.restore import Report
    from sidecar.tidy import Tidied
    from sidecar.verify import Verified

_NAMES = 5
"""Of what lacks, so many are named in the sentence."""


def of_backup(found: "Outcome", recording: "Recording") -> None:
    """A backup: what it holds, where it lies, what it lacks, and what was left undone."""
    manifest = found.manifest
    database = manifest.database
    lacks = [*manifest.missing, *manifest.unreadable, *database.unreadable, *manifest.changed]
    unpruned = {result.target: str(result.failure) for result in found.pruned if result.failure}
    # Without the error, which may read otherwise each night: what lasts is told once a week.
    undone = [f"pruning on {name}" for name in unpruned] + [f"a whole copy of {each} to send" for each in found.damaged]
    # Without their number, which is another one each night.
    undone += ["some that a target had missed"] if found.left else []
    facts: dict[str, Any] = {
        "backup": manifest.id,
        "kimai_version": manifest.kimai.version,
        "size": manifest.archive.size if manifest.archive else 0,
        "tables": len(database.tables),
        "rows": sum(table.rows for table in database.tables),
        "files": sum(file.kind == "file" for file in manifest.files),
        "targets": found.targets,
        "failed": {name: str(error) for name, error in found.failed.items()},
        "lacks": undone + lacks,
        "shrank": found.shrank,
        "unpruned": found.unknown,
        "sent": len(found.sent),
        "pruned": _count(found.pruned),
    }
    held = f"{facts['tables']} tables, {facts['rows']} rows, {facts['files']} files, {amount(facts['size'])}"
    parts = [f"{manifest.id}: {held}, on {', '.join(found.targets)}"]
    parts += [f"not on {name}: {error}" for name, error in facts["failed"].items()]
    parts += [f"without {some(lacks, _NAMES)}"] if lacks else []
    parts += [f"holds less than the one before: {found.shrank}"] if found.shrank else []
    parts += [f"nothing pruned: {found.unknown}"] if found.unknown else []
    parts += [f"pruning {name} ended early: {why}" for name, why in unpruned.items()]
    parts += [f"not sent after, as the local copy is damaged: {some(found.damaged, _NAMES)}"] if found.damaged else []
    parts += [f"{len(found.republished.fresh)} published again"] if found.republished.fresh else []
    parts += [f"{len(found.sent)} earlier sent after"] if found.sent else []
    parts += [f"{len(found.left)} still to be sent after"] if found.left else []
    parts += [f"{facts['pruned']} old deleted"] if facts["pruned"] else []
    recording.tell(found.exit_code, "; ".join(parts), **facts)


def of_verify(
    results: "Sequence[Verified]", exit_code: int, recording: "Recording", backup: str | None, *, keyed: bool = False
) -> None:
    """A verification: how many copies were read, and which are not whole. `backup`: the only one that was asked for.

    `keyed`: a key was there to open encrypted ones.
    """
    bad = [f"{each.id} on {each.target}: {each.problem}" for each in results if not each.whole]
    summary = f"{len(results) - len(bad)} of {len(results)} copies are whole"
    if unopened := sum(each.unopened is not None for each in results):
        summary += f", {unopened} of them encrypted and not opened"
    summary += f"; {some(bad, _NAMES)}" if bad else ""
    recording.tell(exit_code, summary, backup=backup, lacks=bad, keyed=keyed, unopened=unopened)


def of_tidying(found: "Tidied", recording: "Recording") -> None:
    """A prune: how many backups were deleted, and what else was tidied up."""
    failed = {result.target: str(result.failure) for result in found.pruned if result.failure}
    failed |= {name: str(error) for name, error in found.republished.failed.items()}
    parts = [f"{_count(found.pruned)} old deleted"]
    if found.republished.fresh:
        parts.append(f"{len(found.republished.fresh)} published again")
    if found.swept:
        parts.append(f"{len(found.swept)} leftovers removed")
    parts += [f"{name} failed: {why}" for name, why in failed.items()]
    recording.tell(found.exit_code, "; ".join(parts), failed=failed, pruned=_count(found.pruned))


def of_drill(found: "Drill", recording: "Recording") -> None:
    """A drill: what was compared, and what did not match."""
    last = found.results[-1].proof
    differences = [f"{each.proof.read_from}: {line}" for each in found.results for line in each.proof.differences]
    differences += [f"{target}: {error}" for target, error in found.passed.items()]
    rows = sum(table.rows for table in last.tables)
    summary = f"{last.id} from {last.read_from}: {len(last.tables)} tables, {rows} rows, {last.files} files, "
    summary += "equal" if last.matched else "NOT equal"
    if found.left:
        summary += f"; {some(found.left, _NAMES)}"
    if differences:
        summary += f"; {some(differences, _NAMES)}"
    facts: dict[str, Any] = {"backup": last.id, "tables": len(last.tables), "rows": rows, "files": last.files}
    failed = {name: why for each in found.results for name, why in each.unmarked.items()}
    recording.tell(found.exit_code, summary, lacks=differences + found.left, failed=failed, **facts)


def of_restore(report: "Report", recording: "Recording") -> None:
    """A restore: what was restored, or rolled back."""
    summary = f"{report.end}; {some(report.lacks, _NAMES)}" if report.lacks else report.end
    recording.tell(report.exit_code, summary, lacks=report.lacks)


def _count(results: "Sequence[Pruned]") -> int:
    return sum(len(result.deleted) for result in results)
