"""The command line: the group of all commands, and which module each of them is in."""

import click

from sidecar import __version__
from sidecar.commands import proving, restoring, showing, staying, storing


@click.group(
    commands=[
        storing.backup,
        storing.prune,
        restoring.restore,
        showing.list_,
        showing.show,
        showing.config,
        showing.health,
        showing.doctor,
        proving.verify,
        proving.drill,
        staying.run,
        staying.look,
        staying.tell,
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="kimai-backup", message="%(prog)s %(version)s")
def cli() -> None:
    """Back up and restore Kimai: database and files in one zip, proven equal row for row.

    All settings come from the environment: `kimai-backup config` shows them.
    """
