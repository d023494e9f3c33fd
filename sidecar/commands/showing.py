"""The commands that show how things stand: which backups there are, what is set, and whether all is well."""

import json
import logging
import os

import click

from sidecar import tables
from sidecar.app import App
from sidecar.commands.shared import as_json, end_with, instance, list_targets, load, print_out
from sidecar.errors import Exit, KimaiBackupError
from sidecar.report import log as logs

log = logging.getLogger(__name__)


@click.command(name="list")
@as_json
@instance
def list_(as_json: bool, instance: str | None) -> None:
    """List the backups, newest first."""
    from sidecar.catalog import describe_all

    app = load(instance)
    listing = list_targets(app, instance)
    rows = describe_all(listing.backups, app.storages)
    print_out(json.dumps(rows, indent=1) if as_json else tables.backups(rows, app.instance, listing.instances))
    for stray in listing.orphans:
        log.warning("%s on %s has no manifest: backup and prune mend that, or say why not", stray.key, stray.target)
    for stray in listing.broken:
        log.warning("%s on %s has no archive: left alone", stray.key, stray.target)
    end_with(Exit.PARTIAL if listing.failures else Exit.DONE)


@click.command()
@click.argument("reference", metavar="[ID|latest]", default="latest")
@as_json
@instance
def show(reference: str, as_json: bool, instance: str | None) -> None:
    """Show what is in a backup; with --json its manifest.

    An ID may be cut short where that is clear. Of an encrypted one, names and digests are shown where BACKUP_IDENTITY
    opens it.
    """
    import msgspec

    from sidecar.catalog import read_first_manifest
    from sidecar.manifest import encode
    from sidecar.opening import manifest_inside

    app = load(instance)
    found = app.find("show", reference)
    manifest = read_first_manifest(app.storages, found)
    if manifest.withheld is not None and app.targets.keys:
        whole = manifest_inside(found, app.storages, app.targets.fetch, app.targets.keys)
        manifest = msgspec.structs.replace(whole, archive=manifest.archive)
    print_out(encode(manifest).decode() if as_json else tables.manifest(manifest))


@click.command()
@as_json
def config(as_json: bool) -> None:
    """Show every setting in force, secrets hidden."""
    from sidecar.settings import describe

    app = load()
    rows = describe(app.settings)
    named = [dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]
    print_out(json.dumps(named, indent=1) if as_json else tables.settings(rows))


@click.command()
@as_json
@click.option("--recent", is_flag=True, help="Ask no target that the daemon has looked at within 15 minutes.")
def health(as_json: bool, recent: bool) -> None:
    """Tell whether all is well (exit code 0 or 1).

    The newest whole backup on each target is as new as BACKUP_SCHEDULE wants it, where one missed run is forgiven;
    the newest drill did not fail, no verify found damage that none has taken back since; settings are valid, targets
    can be listed, the state folder can be written to, no restore was killed. Without BACKUP_SCHEDULE no age is
    judged: whoever backs up by another scheduler sets it to the same hours. Kimai and its database are not asked:
    see doctor.
    """
    from datetime import UTC, datetime

    from sidecar import health as use_case

    try:
        problems, notes = use_case.examine(App.load(os.environ).health_job(recent=recent), datetime.now(UTC))
    except KimaiBackupError as error:
        problems, notes = str(error).splitlines(), []
    problems = [logs.redact(problem) for problem in problems]
    found = {"healthy": not problems, "problems": problems, "notes": notes}
    print_out(json.dumps(found, indent=1) if as_json else "\n".join([*(problems or ["healthy"]), *notes]))
    end_with(Exit.FAULT if problems else Exit.DONE)


@click.command()
@click.option("--notify", is_flag=True, help="Send a test notice to each of NOTIFY_URLS.")
@as_json
def doctor(notify: bool, as_json: bool) -> None:
    """Try all that a backup and a restore need.

    A line each, with the mend for what fails; best before the night they are needed.
    """
    from sidecar import doctor as use_case

    app = load()
    found = use_case.examine(app.doctor_job(notify=notify))
    rows = [tables.finding(each) for each in found]
    print_out(json.dumps(rows, indent=1) if as_json else tables.findings(found))
    end_with(use_case.exit_code(found))
