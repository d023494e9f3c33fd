"""The command that stays, run, and the hidden ones that it starts beside backups: look and tell."""

import logging
import os
import signal

import click

from sidecar.app import App
from sidecar.commands.shared import load, print_out
from sidecar.report import log as logs


@click.command()
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
    app = load()
    job = app.daemon_job(clock)
    daemon = Daemon(job)
    signal.signal(signal.SIGHUP, lambda *_: daemon.hang_up())
    with app.state.only_daemon(), app.served(lambda: job.standing.status(clock.now())):
        daemon.run()


@click.command(hidden=True)
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
    print_out(msgspec.json.encode(replace(found, shelves=shelves)).decode())


@click.command(hidden=True)
@click.argument("told_id", metavar="RUN_ID")
@click.option("--instance", metavar="NAME", help="The daemon's, which may have learnt it from Docker.")
@click.option("--record", metavar="JSON", help="The run, where the history could not be written to.")
def tell(told_id: str, instance: str | None, record: str | None) -> None:
    """Tell others of a run that was killed before it could, or that left no record."""
    App.load_to_tell(os.environ, instance).teller.tell(told_id, record)
