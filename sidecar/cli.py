"""The commands of kimai-backup: what each takes, what it prints, and the exit code that it ends with."""

import json
import logging
import os
import signal
import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import click

from sidecar import __version__, tables
from sidecar.app import App
from sidecar.errors import Exit, KimaiBackupError
from sidecar.report import log as logs
from sidecar.report.progress import progress
from sidecar.runs import Trigger

if TYPE_CHECKING:
    from sidecar.catalog import Catalog

log = logging.getLogger(__name__)

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
instance = click.option("--instance", metavar="NAME", help="Another instance's backups than BACKUP_INSTANCE's.")
# How the daemon starts what it runs; not for people, whose runs are by hand.
run_id = click.option("--run-id", hidden=True)
trigger = click.option("--trigger", type=click.Choice(get_args(Trigger)), default="hand", hidden=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="kimai-backup", message="%(prog)s %(version)s")
def cli() -> None:
    """Back up and restore Kimai: database and files in one zip, proven equal row for row.

    All settings come from the environment: `kimai-backup config` shows them.
    """


@cli.command()
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
        _print(tables.rehearsal(found))
        _exit(found.exit_code)
        return
    with app.recorded("backup", trigger) as run:
        with progress() as shown:
            outcome = use_case.backup(app.backup_job(run.watch(shown)), with_prune=not no_prune)
        outcomes.of_backup(outcome, run)
    _exit(outcome.exit_code)


@cli.command(name="list")
@as_json
@instance
def list_(as_json: bool, instance: str | None) -> None:
    """List the backups, newest first."""
    from sidecar.catalog import describe_all

    app = _load(instance)
    listing = _listing(app, instance)
    rows = describe_all(listing.backups, app.storages)
    _print(json.dumps(rows, indent=1) if as_json else tables.backups(rows, app.instance, listing.instances))
    for stray in listing.orphans:
        log.warning("%s on %s has no manifest: backup and prune mend that, or say why not", stray.key, stray.target)
    for stray in listing.broken:
        log.warning("%s on %s has no archive: left alone", stray.key, stray.target)
    _exit(Exit.PARTIAL if listing.failures else Exit.DONE)


@cli.command()
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

    app = _load(instance)
    found = app.find("show", reference)
    manifest = read_first_manifest(app.storages, found)
    if manifest.withheld is not None and app.targets.keys:
        whole = manifest_inside(found, app.storages, app.targets.fetch, app.targets.keys)
        manifest = msgspec.structs.replace(whole, archive=manifest.archive)
    _print(encode(manifest).decode() if as_json else tables.manifest(manifest))


@cli.command()
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

    app = _load(instance, run_id)
    if instance is not None:
        _listing(app, instance)
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
    _print(json.dumps(rows, indent=1) if as_json else tables.verification(results))
    _exit(code)


@cli.command()
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
    app = _load(instance, run_id)
    by_itself = trigger != "hand"
    with app.recorded("drill", trigger) as run:
        if reference or not (oldest or by_itself):
            backup = app.find("drill", reference or "latest")
        else:
            backup = app.turn(oldest=oldest, again=trigger == "retry")
        with progress(quiet=as_json) as shown:
            outcome = use_case.drill(app.drill_job(run.watch(shown)), backup)
        outcomes.of_drill(outcome, run)
    _print(tables.drilled_json(outcome) if as_json else tables.drilled(outcome))
    _exit(outcome.exit_code)


@cli.command()
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
    only: Literal["database", "files"] | None,
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
    app = App.load(os.environ, instance)
    with nullcontext() if dry_run else app.recorded("restore") as run:
        with progress() as shown:
            job = app.restore_job(run.watch(shown) if run else shown)
            if resume:
                report = unfinished.resume(job, discard=discard_killed, dry_run=dry_run)
            elif rollback:
                report = unfinished.rollback(job, discard=discard_killed, dry_run=dry_run)
            else:
                bring = partial(use_case.restore, only=only, replace=replace)
                if lost:
                    bring = partial(restore_lost, tables=names, files=paths)
                report = bring(
                    job,
                    reference or "",
                    allowed=Allowed(accept_unknown_version, accept_version_mismatch, upgrade),
                    discard_killed=discard_killed,
                    dry_run=dry_run,
                )
        if run:
            outcomes.of_restore(report, run)
    _print(tables.report(report))
    _exit(report.exit_code)


def _refuse_contradictions(only: str | None, *, lost: bool, upgrade: bool, replace: bool) -> None:
    if lost and (only or upgrade or replace):
        raise click.UsageError("--tables and --files are all that comes back: no --only, --upgrade or --replace")
    if upgrade and only == "files":
        raise click.UsageError("--upgrade migrates a restored database, and --only files restores none")
    if replace and only == "files":
        raise click.UsageError("--only files needs no --replace: it doesn't look at the database")


@cli.command()
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
        _listing(app, instance)
    with nullcontext() if dry_run else app.recorded("prune") as run:
        with progress(quiet=as_json) as shown:
            found = use_case.tidy(app.tidy_job(run.watch(shown) if run else shown), dry_run=dry_run)
        if run:
            outcomes.of_tidying(found, run)
    _print(json.dumps(tables.decisions(found.pruned), indent=1) if as_json else tables.tidied(found, dry_run=dry_run))
    _exit(found.exit_code)


@cli.command()
@click.option("--notify", is_flag=True, help="Send a test notice to each of NOTIFY_URLS.")
@as_json
def doctor(notify: bool, as_json: bool) -> None:
    """Try all that a backup and a restore need.

    A line each, with the mend for what fails; best before the night they are needed.
    """
    from sidecar import doctor as use_case

    app = _load()
    found = use_case.examine(app.doctor_job(notify=notify))
    rows = [tables.finding(each) for each in found]
    _print(json.dumps(rows, indent=1) if as_json else tables.findings(found))
    _exit(use_case.exit_code(found))


@cli.command()
def run() -> None:
    """Stay, and back up by BACKUP_SCHEDULE (cron, in TZ), until SIGTERM.

    Each run is a process of its own, one at a time. One that was missed (container down, machine asleep) is made
    up for, once; one that failed is tried again after 10, 30 and 90 minutes, unless the next comes before. With
    BACKUP_JITTER each begins up to so many minutes later. VERIFY_SCHEDULE re-reads all backups, DRILL_SCHEDULE
    proves the newest, or where that was tried already, the one whose turn it is. HTTP_LISTEN shows how things
    stand. SIGTERM ends a run within 8 seconds, and the next start makes up for it. SIGHUP does nothing: settings
    are read at the start, the files of NAME_FILE by each run.
    """
    from sidecar.clock import WallClock
    from sidecar.daemon import Daemon

    clock = WallClock()
    # Ending is what a daemon is told to do: no interruption, and exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())
    app = App.load(os.environ)
    job = app.daemon_job(clock)
    daemon = Daemon(job)
    signal.signal(signal.SIGHUP, lambda *_: daemon.hang_up())
    with app.state.only_daemon(), app.served(lambda: job.standing.status(clock.now())):
        daemon.run()


@cli.command(hidden=True)
def look() -> None:
    """What lies on the targets, as the daemon asks for it: one JSON document."""
    import msgspec
    from msgspec.structs import replace

    app = App.load(os.environ)
    # The daemon says what is new of it, not the same every ten minutes.
    logging.getLogger("sidecar.catalog").setLevel(logging.ERROR)
    found = app.look()
    # Page and metrics show it as it is.
    shelves = [replace(each, problem=logs.redact(each.problem) if each.problem else None) for each in found.shelves]
    _print(msgspec.json.encode(replace(found, shelves=shelves)).decode())


@cli.command(hidden=True)
@click.argument("told_id", metavar="RUN_ID")
@click.option("--instance", metavar="NAME", help="The daemon's, which may have learnt it from Docker.")
@click.option("--record", metavar="JSON", help="The run, where the history could not be written to.")
def tell(told_id: str, instance: str | None, record: str | None) -> None:
    """Tell others of a run that was killed before it could, or that left no record."""
    App.load_to_tell(os.environ, instance).teller.tell(told_id, record)


@cli.command()
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
    _print(json.dumps(found, indent=1) if as_json else "\n".join([*(problems or ["healthy"]), *notes]))
    _exit(Exit.FAULT if problems else Exit.DONE)


@cli.command()
@as_json
def config(as_json: bool) -> None:
    """Show every setting in force, secrets hidden."""
    from sidecar.settings import describe

    app = _load()
    rows = describe(app.settings)
    named = [dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]
    _print(json.dumps(named, indent=1) if as_json else tables.settings(rows))


def _load(instance: str | None = None, run_id: str | None = None) -> App:
    """For what may go on while a restore that was cut short waits for its end: that one waits is said each time."""
    app = App.load(os.environ, instance, run_id)
    try:
        app.state.refuse_cut_short()
    except KimaiBackupError as error:
        log.warning("%s", error)
    return app


def _listing(app: App, instance: str | None) -> "Catalog":
    """What lies on the targets; an instance that was asked for and isn't there is rather one that was misspelt."""
    from sidecar.references import check_instance

    listing = app.catalog()
    if instance is not None:
        check_instance(listing)
    return listing


def _print(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


def _exit(code: Exit) -> None:
    if code is not Exit.DONE:
        raise click.exceptions.Exit(code)
