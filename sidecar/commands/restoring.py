"""The command that brings a backup back: restore, with what its options ask for and which of them contradict."""

import os
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import click

from sidecar import tables
from sidecar.app import App
from sidecar.commands.shared import dry_run, end_with, instance, print_out
from sidecar.report.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.restore_job import Report
    from sidecar.wish import Part


@click.command()
@click.argument("reference", metavar="[ID|latest|FILE.zip[.age]]", required=False)
@click.option("--only", type=click.Choice(["database", "files"]), help="Only the database, or only the files.")
@click.option("--tables", "names", metavar="NAME[,NAME]", multiple=True, help="Only these tables, which are lost.")
@click.option("--files", "paths", metavar="PATH", multiple=True, help="Only this file or folder, as far as it is lost.")
@click.option(
    "--accept-unknown-version", is_flag=True, help="Restore a zip that doesn't say which version of Kimai it is of."
)
@click.option(
    "--accept-version-mismatch",
    is_flag=True,
    help="Restore into another version of Kimai whose newest migration is the backup's, or beside other plugins.",
)
@click.option("--upgrade", is_flag=True, help="Let a newer Kimai migrate the database once it is loaded and compared.")
@click.option("--replace", is_flag=True, help="Restore over a database in use, of which a safety backup is made first.")
@click.option("--resume", is_flag=True, help="Bring a restore with --replace that was cut short to its end.")
@click.option("--rollback", is_flag=True, help="Put back what was there before a --replace that was cut short.")
@click.option("--discard-killed", is_flag=True, help="Drop what a killed restore made, though written to since.")
@dry_run
@instance
def restore(
    reference: str | None,
    only: "Part | None",
    names: tuple[str, ...],
    paths: tuple[str, ...],
    accept_unknown_version: bool,
    accept_version_mismatch: bool,
    upgrade: bool,
    replace: bool,
    resume: bool,
    rollback: bool,
    discard_killed: bool,
    dry_run: bool,
    instance: str | None,
) -> None:
    """Restore a backup into an empty database and Kimai's folder.

    With --replace into a database in use as well. Until --resume or --rollback has ended one that was cut short, no
    backup is made, health is red, and a Kimai in a container is not started again.

    With --tables and --files, which may be given several times, only what was lost comes back, into a Kimai that is in
    use: nothing that is there is touched.
    """
    from sidecar import outcomes, unfinished
    from sidecar import restore as use_case
    from sidecar.restore_lost import restore_lost
    from sidecar.wish import Allowed

    lost, accepted = bool(names or paths), accept_unknown_version or accept_version_mismatch or upgrade
    _refuse_contradictions(only, lost=lost, upgrade=upgrade, replace=replace)
    if resume or rollback:
        if reference or only or lost or accepted or replace or (resume and rollback):
            raise click.UsageError("--resume and --rollback take what the restore that was cut short was given")
    elif not reference:
        raise click.UsageError("which backup? Give an ID, `latest`, or the path of a zip")
    bring: Callable[..., Report]
    if resume or rollback:
        bring = partial(unfinished.resume if resume else unfinished.rollback, discard=discard_killed)
    else:
        bring = partial(use_case.restore, only=only, replace=replace)
        if lost:
            bring = partial(restore_lost, tables=names, files=paths)
        allowed = Allowed(accept_unknown_version, accept_version_mismatch, upgrade)
        bring = partial(bring, reference=reference or "", allowed=allowed, discard_killed=discard_killed)
    app = App.load(os.environ, instance)
    with nullcontext() if dry_run else app.recorded("restore") as run:
        with progress() as shown:
            report = bring(app.restore_job(run.watch(shown) if run else shown), dry_run=dry_run)
        if run:
            outcomes.of_restore(report, run)
    print_out(tables.report(report))
    end_with(report.exit_code)


def _refuse_contradictions(only: str | None, *, lost: bool, upgrade: bool, replace: bool) -> None:
    if lost and (only or upgrade or replace):
        raise click.UsageError("--tables and --files are all that comes back: no --only, --upgrade or --replace")
    if upgrade and only == "files":
        raise click.UsageError("--upgrade migrates a restored database, and --only files restores none")
    if replace and only == "files":
        raise click.UsageError("--only files needs no --replace: it doesn't look at the database")
