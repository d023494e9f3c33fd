"""The commands of kimai-backup: what each takes and prints, and the only place that exits."""

import json
import logging
import os
import signal
import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sidecar import __version__, tables
from sidecar.app import App
from sidecar.errors import Exit, Interrupted, KimaiBackupError
from sidecar.report import log as logs
from sidecar.report.progress import Progress, progress

if TYPE_CHECKING:
    from types import FrameType

log = logging.getLogger(__name__)

cli = typer.Typer(
    name="kimai-backup",
    help="Back up and restore Kimai: database and files in one zip, proven equal row for row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")]
Instance = Annotated[str | None, typer.Option("--instance", help="Another instance's backups than BACKUP_INSTANCE's.")]
Reference = Annotated[str, typer.Argument(metavar="ID", help="An ID, its beginning, or `latest`.")]


class Part(StrEnum):
    """What of a backup a restore may be limited to."""

    DATABASE = "database"
    FILES = "files"


@cli.command()
def backup(
    no_prune: Annotated[bool, typer.Option("--no-prune", help="Don't prune where all went well.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Back up database and files to every target, then prune."""
    from sidecar import backup as use_case

    app = App.load(os.environ)
    with _progress() as shown:
        job = app.backup_job(shown)
        if dry_run:
            _print(tables.rehearsal(use_case.rehearse(job)))
        else:
            _exit(use_case.backup(job, with_prune=not no_prune).exit_code)


@cli.command(name="list")
def list_(as_json: Json = False, instance: Instance = None) -> None:
    """List the backups, newest first."""
    from sidecar.catalog import describe, proven_at

    app = App.load(os.environ, instance)
    listing = app.catalog()
    rows = [describe(each, proven_at(each, app.storages)) for each in listing.backups]
    _print(json.dumps(rows, indent=1) if as_json else tables.backups(rows, app.instance, listing.instances))
    for stray in (*listing.orphans, *listing.broken):
        log.warning("%s on %s is no whole backup: try verify", stray.key, stray.target)
    _exit(Exit.PARTIAL if listing.failures else Exit.DONE)


@cli.command()
def show(reference: Reference = "latest", as_json: Json = False, instance: Instance = None) -> None:
    """Show what is in a backup; with --json its manifest."""
    from sidecar.catalog import read_manifest
    from sidecar.manifest import encode

    app = App.load(os.environ, instance)
    found = app.find(reference)
    storage = next(each for each in app.storages if each.name == found.targets[0])
    manifest = read_manifest(storage, found.id)
    _print(encode(manifest).decode() if as_json else tables.manifest(manifest))


@cli.command()
def verify(
    reference: Annotated[str | None, typer.Argument(metavar="[ID]", help="One backup; all of them without.")] = None,
    as_json: Json = False,
    instance: Instance = None,
) -> None:
    """Re-read every byte of a backup, or of all, against its manifest."""
    from sidecar import verify as use_case

    app = App.load(os.environ, instance)
    listing = app.catalog()
    backups = [app.find(reference)] if reference else list(listing.backups)
    with _progress(quiet=as_json) as shown:
        results = use_case.verify(app.storages, backups, app.fetch, shown)
    results += [] if reference else use_case.strays(listing)
    _print(
        json.dumps([tables.verified(each) for each in results], indent=1) if as_json else tables.verification(results)
    )
    _exit(Exit.DONE if all(each.whole for each in results) else Exit.DAMAGED)


@cli.command()
def restore(
    reference: Annotated[str, typer.Argument(metavar="ID|latest|FILE.zip", help="What to restore.")],
    only: Annotated[Part | None, typer.Option(help="Only the database, or only the files.")] = None,
    accept_unknown_version: Annotated[
        bool, typer.Option(help="Restore a zip that doesn't say which version of Kimai it is of.")
    ] = False,
    dry_run: DryRun = False,
    instance: Instance = None,
) -> None:
    """Restore a backup into an empty database and Kimai's folder."""
    from sidecar import restore as use_case

    app = App.load(os.environ, instance)
    with _progress() as shown:
        report = use_case.restore(
            app.restore_job(shown),
            reference,
            only=only.value if only else None,
            accept_unknown_version=accept_unknown_version,
            dry_run=dry_run,
        )
    _print(tables.report(report))


@cli.command()
def prune(dry_run: DryRun = False, as_json: Json = False, instance: Instance = None) -> None:
    """Delete the backups that retention gives up, with a reason for each one kept and each one deleted."""
    from datetime import UTC, datetime

    from sidecar import prune as use_case

    app = App.load(os.environ, instance)
    with app.state.lock("prune"):
        results = use_case.prune(
            app.storages, app.instance, app.policy, datetime.now(UTC), app.settings.timezone, dry_run=dry_run
        )
    _print(json.dumps(tables.decisions(results), indent=1) if as_json else tables.pruned(results, dry_run=dry_run))
    _exit(Exit.STORAGE if any(result.failure for result in results) else Exit.DONE)


@cli.command()
def doctor(as_json: Json = False) -> None:
    """Try everything that a backup and a restore need, before the night they are needed."""
    from sidecar import doctor as use_case

    app = App.load(os.environ)
    findings = use_case.examine(app.doctor_job())
    if as_json:
        _print(json.dumps([tables.finding(each) for each in findings], indent=1))
    else:
        _print(tables.findings(findings))
    _exit(use_case.exit_code(findings))


@cli.command()
def config(as_json: Json = False) -> None:
    """Show every setting in force and where it comes from, secrets hidden."""
    from sidecar.settings import describe, misspelt

    app = App.load(os.environ)
    rows = describe(app.settings)
    if as_json:
        _print(json.dumps([dict(zip(("name", "value", "source"), row, strict=True)) for row in rows], indent=1))
    else:
        _print(tables.settings(rows))
    for line in misspelt(os.environ):
        log.warning("%s", line)


@cli.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        _print(f"kimai-backup {__version__}")
        raise typer.Exit


def main() -> NoReturn:
    """Run one command and exit with its documented code; an error is one line, a traceback only at debug."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        cli(prog_name="kimai-backup")
    except KimaiBackupError as error:
        log.debug("traceback", exc_info=True)
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has had enough; stdout can't even be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAULT)
    except Exception as error:  # the last line of defence: told, with a code of its own
        log.debug("traceback", exc_info=True)
        _fail(f"unexpected fault: {type(error).__name__}: {error}. LOG_LEVEL=debug shows where", Exit.FAULT)
    sys.exit(Exit.DONE)


def _interrupt(number: int, _: "FrameType | None") -> None:
    # A second signal would cut short the tidying up that the first one began.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Interrupted(f"interrupted by {signal.Signals(number).name}; nothing was published or left in part")


def _fail(message: str, code: Exit) -> NoReturn:
    for line in logs.redact(message).splitlines():
        sys.stderr.write(f"kimai-backup: {line}\n")
    sys.exit(code)


def _progress(*, quiet: bool = False) -> AbstractContextManager[Progress]:
    return progress(quiet=quiet)


def _print(text: Any) -> None:
    sys.stdout.write(f"{text}".rstrip("\n") + "\n")


def _exit(code: Exit) -> None:
    if code is not Exit.DONE:
        raise typer.Exit(code)
