"""The commands that put backups on the targets and take them from there: backup and prune."""

import json
import os
from contextlib import nullcontext

import click

from sidecar import tables
from sidecar.app import App
from sidecar.commands.shared import as_json, dry_run, end_with, instance, list_targets, print_out, run_id, trigger
from sidecar.report.progress import progress
from sidecar.runs import Trigger


@click.command()
@click.option("--no-prune", is_flag=True, help="Don't prune where all went well.")
@dry_run
@run_id
@trigger
def backup(no_prune: bool, dry_run: bool, run_id: str | None, trigger: Trigger) -> None:
    """Back up database and files to every target, then prune."""
    from sidecar import backup as use_case
    from sidecar import outcomes

    app = App.load(os.environ, run_id=run_id)
    if dry_run:
        with progress() as shown:
            found = use_case.rehearse(app.backup_job(shown), with_prune=not no_prune)
        print_out(tables.rehearsal(found))
        end_with(found.exit_code)
        return
    with app.recorded("backup", trigger) as run:
        with progress() as shown:
            outcome = use_case.backup(app.backup_job(run.watch(shown)), with_prune=not no_prune)
        outcomes.of_backup(outcome, run)
    end_with(outcome.exit_code)


@click.command()
@dry_run
@as_json
@instance
def prune(dry_run: bool, as_json: bool, instance: str | None) -> None:
    """Delete what retention gives up.

    With a reason for each backup that is kept and each one that is deleted. An archive that lost its manifest is
    checked, and published again where it is whole. What killed runs left half made is removed.
    """
    from sidecar import outcomes
    from sidecar import tidy as use_case

    app = App.load(os.environ, instance)
    if instance is not None:
        list_targets(app, instance)
    with nullcontext() if dry_run else app.recorded("prune") as run:
        with progress(quiet=as_json) as shown:
            found = use_case.tidy(app.tidy_job(run.watch(shown) if run else shown), dry_run=dry_run)
        if run:
            outcomes.of_tidying(found, run)
    print_out(
        json.dumps(tables.decisions(found.pruned), indent=1) if as_json else tables.tidied(found, dry_run=dry_run)
    )
    end_with(found.exit_code)
