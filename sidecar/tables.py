"""What the commands print for people: plain aligned text, and the rows of their JSON."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sidecar.brief import amount as amount

if TYPE_CHECKING:
    from sidecar.backup import Rehearsal
    from sidecar.doctor import Finding
    from sidecar.drill import Outcome as Drill
    from sidecar.manifest import Manifest
    from sidecar.proven import Drilled
    from sidecar.prune import Pruned
    from sidecar.republish import Republished
    from sidecar.restore import Report
    from sidecar.tidy import Tidied
    from sidecar.verify import Verified


def grid(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell; the last one as long as it is."""
    cells = [list(head), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def backups(rows: Sequence[dict[str, Any]], instance: str, instances: Sequence[str]) -> str:
    """`list`: one row a backup."""
    if not rows:
        others = f"; there are backups of {', '.join(instances)} (--instance)" if instances else ""
        return f"no backups of instance {instance}{others}"
    return grid(
        ("ID", "CREATED (UTC)", "KIMAI", "SIZE", "WHERE", "ENCRYPTED", "PROVEN"),
        [
            (
                row["id"],
                row["created_at"].replace("T", " ").removesuffix("Z"),
                row["kimai_version"],
                amount(row["size"]),
                ", ".join(row["targets"]),
                "yes" if row["encrypted"] else "no",
                row["proven_at"] or ("damaged" if row["damaged"] else "yes" if row["proven"] else "no"),
            )
            for row in rows
        ],
    )


def manifest(found: "Manifest") -> str:
    """`show`: what is in a backup."""
    database = found.database
    head = [
        ("backup", found.id),
        ("made", f"{found.started_at:%Y-%m-%d %H:%M:%S} UTC, by kimai-backup {found.tool_version}"),
        ("Kimai", f"{found.kimai.version} (by {found.kimai.version_source})"),
        ("revision", found.kimai.git_revision or "unknown"),
        ("plugins", _plugins(found)),
        ("database", f"{database.flavour} {database.server_version}, {database.newest_migration}"),
        ("archive", amount(found.archive.size) if found.archive else "unknown"),
        ("files", str(_files(found))),
        *_withheld(found),
        *(("missing", name) for name in found.missing),
        *(("unreadable", name) for name in (*found.unreadable, *database.unreadable)),
        *(("changed", name) for name in found.changed),
        *(("note", text) for text in found.warnings),
    ]
    lines = [f"{name:<12}{value}" for name, value in head]
    if found.withheld is not None:
        return "\n".join([*lines, "", _WITHHELD])
    rows = [(table.name, table.rows, table.digest) for table in database.tables]
    return "\n".join([*lines, "", grid(("TABLE", "ROWS", "DIGEST"), rows)])


def _plugins(found: "Manifest") -> str:
    plugins = found.kimai.plugins
    if plugins is None:
        return "unknown"
    return ", ".join(f"{each.folder} {each.version or ''}".strip() for each in plugins) or "none"


_WITHHELD = "It is encrypted: with BACKUP_IDENTITY its tables, digests and files are shown as well."


def _files(found: "Manifest") -> int:
    if found.withheld is not None:
        return found.withheld.files
    return sum(file.kind == "file" for file in found.files)


def _withheld(found: "Manifest") -> list[tuple[str, str]]:
    """Of an encrypted backup, how many there are of what is not named beside it."""
    if found.withheld is None:
        return []
    counts = {"tables": found.withheld.tables, "missing": found.withheld.missing}
    counts |= {"unreadable": found.withheld.unreadable, "changed": found.withheld.changed}
    return [(name, str(count)) for name, count in counts.items() if count]


def rehearsal(found: "Rehearsal") -> str:
    """`backup --dry-run`: what a backup would read, and what its prune would do."""
    survey = found.survey
    lines = [
        f"Kimai {found.kimai.version}, {found.tables} tables, {len(survey.entries)} files and folders"
        f" ({amount(survey.size)})"
    ]
    lines += [f"missing     {name}" for name in survey.missing]
    lines += [f"unreadable  {name}" for name in survey.unreadable]
    if found.not_pruned:
        lines += [f"nothing would be pruned: {found.not_pruned}"]
    else:
        lines += ["", pruned(found.pruned, dry_run=True)]
    return "\n".join([*lines, *republished(found.republished)])


def verification(results: "Sequence[Verified]") -> str:
    """`verify`: one row a copy."""
    if not results:
        return "no backups"
    rows = [(each.id, each.target, amount(each.size), each.problem or _whole(each)) for each in results]
    return grid(("BACKUP", "WHERE", "SIZE", "STATE"), rows)


def _whole(result: "Verified") -> str:
    return f"as it was stored; not opened: {result.unopened}" if result.unopened else "whole"


def verified(result: "Verified") -> dict[str, Any]:
    """One row of `verify --json`."""
    return {
        "id": result.id,
        "target": result.target,
        "size": result.size,
        "whole": result.whole,
        "opened": result.opened,
        "problem": result.problem,
    }


def drilled(found: "Drill") -> str:
    """`drill`: a row a table, then what differs, and where the outcome could not be laid down."""
    passed = [f"! the copy on {target} could not be tried: {error}" for target, error in found.passed.items()]
    left = [f"! {each}" for each in found.left]
    parts = ["\n".join(passed), *(_drilled(result) for result in found.results), "\n".join(left)]
    return "\n\n".join(part for part in parts if part)


def _drilled(result: "Drilled") -> str:
    proof = result.proof
    rows = [(table.name, table.rows, table.digest, "equal" if table.equal else "DIFFERENT") for table in proof.tables]
    lines = [grid(("TABLE", "ROWS", "DIGEST", ""), rows)] if rows else []
    lines += [f"! {difference}" for difference in proof.differences]
    lines += [f"! {doubt}: another release may only put it in other words" for doubt in proof.doubts]
    if not proof.definitions_compared and not proof.doubts and proof.tables:
        lines.append(
            f"! definitions were not compared: the backup is of {proof.backup_server}, {proof.drill_server} was used"
        )
    lines += [f"! the outcome is not on {target}: {why}" for target, why in result.unmarked.items()]
    total = f"{len(proof.tables)} tables, {sum(table.rows for table in proof.tables)} rows, {proof.files} files"
    proven = "proven: equal, row for row" if proof.definitions_compared else "its rows alone are proven: all are equal"
    verdict = proven if proof.matched else "NOT what was backed up"
    lines.append(f"{proof.id}, read from {proof.read_from}: {total} ({amount(proof.bytes)}): {verdict}")
    return "\n".join(lines)


def drilled_json(found: "Drill") -> str:
    """`drill --json`: the proof of each copy that was tried, with the targets that bear it."""
    import msgspec

    rows = [
        {**msgspec.to_builtins(each.proof), "marked": each.marked, "unmarked": each.unmarked} for each in found.results
    ]
    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode()


def report(found: "Report") -> str:
    """`restore`: what a dry run checked and would do; after a true one, whose steps the log told, what is next."""
    notes = [f"! {note}" for note in found.notes]
    if found.dry_run:
        return "\n".join([f"  {step}" for step in found.steps] + notes)
    is_all_of_it = not found.is_rolled_back and found.brought is None
    then = "; then update." if is_all_of_it and not found.upgraded else "."
    but = ", but for what is said above" if found.lacks else ""
    how = f": what was there before is there again{but}" if found.is_rolled_back else ""
    last = f"{found.end}{how}. Start the web server if you stopped it, sign in, look around{then}"
    saved = [f"What was there before is kept for 7 days at least, as {found.safety}."] if found.safety else []
    return "\n".join([*notes, *saved, last])


def decisions(results: "Sequence[Pruned]") -> list[dict[str, Any]]:
    """The rows of `prune --json`: every backup of every target, with the reasons."""
    return [
        {
            "target": result.target,
            "id": str(decision.id),
            "keep": decision.keep,
            "deleted": decision.id in result.deleted,
            "reasons": list(decision.reasons),
        }
        for result in results
        for decision in result.decisions
    ]


def pruned(results: "Sequence[Pruned]", *, dry_run: bool) -> str:
    """`prune`: every backup with what becomes of it and why."""
    gone = "would delete" if dry_run else "deleted"
    rows = [
        (
            str(decision.id),
            result.target,
            "keep" if decision.keep else gone if dry_run or decision.id in result.deleted else "not deleted",
            "; ".join(decision.reasons),
        )
        for result in results
        for decision in result.decisions
    ]
    lines = [grid(("BACKUP", "WHERE", "", "WHY"), rows) if rows else "no backups"]
    lines += [f"{stray.key} on {stray.target} is no whole backup: left alone" for r in results for stray in r.broken]
    lines += [f"{result.target} failed: {result.failure}" for result in results if result.failure]
    return "\n".join(lines)


def republished(found: "Republished") -> list[str]:
    """What became of archives without a manifest, and which target kept that from being seen."""
    return [*map(str, found.fates), *(f"a target failed: {failure}" for failure in found.failed)]


def tidied(found: "Tidied", *, dry_run: bool) -> str:
    """`prune`: what became of backups, of archives without a manifest, and of what was half made."""
    done = "would be removed" if dry_run else "is removed"
    swept = [f"{left} {done}: a run that was killed left it" for left in found.swept]
    return "\n".join([pruned(found.pruned, dry_run=dry_run), *republished(found.republished), *swept])


def finding(found: "Finding") -> dict[str, Any]:
    """One row of `doctor --json`."""
    return {
        "what": found.what,
        "good": found.good,
        "seen": found.seen,
        "mend": found.mend,
        "exit_code": int(found.exit_code),
    }


def findings(found: "Sequence[Finding]") -> str:
    """`doctor`: a line each, and the mend below what fails."""
    width = max(len(each.what) for each in found)
    lines = []
    for each in found:
        mark = "ok  " if each.good and not each.mend else "note" if each.good else "FAIL"
        lines.append(f"{mark}  {each.what:<{width}}  {each.seen}")
        if each.mend:
            lines.append(f"{'':6}{'':{width}}  -> {each.mend}")
    return "\n".join(lines)


def settings(rows: Iterable[Sequence[str]]) -> str:
    """`config`: every setting in force."""
    return grid(("SETTING", "VALUE", "FROM"), rows)
