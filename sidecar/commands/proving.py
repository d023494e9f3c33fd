"""The commands that prove backups: verify reads every byte again, drill restores into a scratch database."""

import json

import click

from sidecar import tables
from sidecar.commands.shared import as_json, end_with, instance, list_targets, load, print_out, run_id, trigger
from sidecar.report.progress import progress
from sidecar.runs import Trigger


@click.command()
@click.argument("reference", metavar="[ID|latest]", required=False)
@as_json
@instance
@run_id
@trigger
def verify(reference: str | None, as_json: bool, instance: str | None, run_id: str | None, trigger: Trigger) -> None:
    """Re-read every byte against the manifest.

    Of one backup, or of all where no ID is given; then of archives without a manifest as well, against the one inside.
    An encrypted one is held against its size and SHA-256, and opened where BACKUP_IDENTITY is set.
    """
    from sidecar import outcomes
    from sidecar import verify as use_case

    app = load(instance, run_id)
    if instance is not None:
        list_targets(app, instance)
    with app.recorded("verify", trigger) as run:
        listing = app.catalog()
        backups = [app.find("verify", reference)] if reference else list(listing.backups)
        with progress(quiet=as_json) as shown:
            watched = run.watch(shown)
            keys = app.targets.keys
            results = use_case.verify(app.storages, backups, app.targets.fetch, watched, keys)
            orphans = []
            if not reference:
                orphans = use_case.strays(app.storages, listing, app.targets.fetch, watched, keys)
            use_case.remember(app.state, results, orphans, keyed=bool(keys))
            results += orphans
        code = use_case.exit_code(results, with_key=bool(keys))
        only = str(backups[0].id) if reference else None
        outcomes.of_verify(results, code, run, only, keyed=bool(keys))
    rows = [tables.verified(each) for each in results]
    print_out(json.dumps(rows, indent=1) if as_json else tables.verification(results))
    end_with(code)


@click.command()
@click.argument("reference", metavar="[ID|latest]", required=False)
@click.option("--oldest", is_flag=True, help="The one whose turn it is: never tried, or longest ago.")
@as_json
@instance
@run_id
@trigger
def drill(
    reference: str | None, oldest: bool, as_json: bool, instance: str | None, run_id: str | None, trigger: Trigger
) -> None:
    """Prove a backup: restore it into a scratch database, and compare.

    On the server of DRILL_DATABASE_URL, in a database of its own that is dropped afterwards. Every table is read back
    and compared with the manifest, every file's hash checked. Without an ID, the newest backup; by DRILL_SCHEDULE,
    the newest one where no drill has tried it yet, else the one whose turn it is.
    """
    from sidecar import drill as use_case
    from sidecar import outcomes

    if reference and oldest:
        raise click.UsageError("give an ID or --oldest, not both")
    app = load(instance, run_id)
    by_itself = trigger != "hand"
    with app.recorded("drill", trigger) as run:
        if reference or not (oldest or by_itself):
            backup = app.find("drill", reference or "latest")
        else:
            backup = app.turn(oldest=oldest, again=trigger == "retry")
        with progress(quiet=as_json) as shown:
            outcome = use_case.drill(app.drill_job(run.watch(shown)), backup)
        outcomes.of_drill(outcome, run)
    print_out(tables.drilled_json(outcome) if as_json else tables.drilled(outcome))
    end_with(outcome.exit_code)
