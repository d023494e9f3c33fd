"""What commands share: options, loading the settings, listing the targets, printing, and the exit code."""

import logging
import os
import sys
from typing import TYPE_CHECKING, get_args

import click

from sidecar.app import App
from sidecar.errors import Exit, KimaiBackupError
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


def load(instance: str | None = None, run_id: str | None = None) -> App:
    """For what may go on while a restore that was cut short waits for its end: that one waits is said each time."""
    app = App.load(os.environ, instance, run_id)
    try:
        app.state.refuse_cut_short()
    except KimaiBackupError as error:
        log.warning("%s", error)
    return app


def list_targets(app: App, instance: str | None) -> "Catalog":
    """What lies on the targets; an instance that was asked for and isn't there is rather one that was misspelt."""
    from sidecar.references import check_instance

    listing = app.catalog()
    if instance is not None:
        check_instance(listing)
    return listing


def print_out(text: str) -> None:
    """To stdout, which carries results alone: ended by one newline."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def end_with(code: Exit) -> None:
    """Raise click's `Exit` where the code isn't 0: `__main__` exits with it."""
    if code is not Exit.DONE:
        raise click.exceptions.Exit(code)
