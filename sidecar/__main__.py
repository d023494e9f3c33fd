"""The way in: signals, errors and exit codes around one command; the only place that exits."""

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from sidecar.cli import cli
from sidecar.errors import Exit, Interrupted, KimaiBackupError
from sidecar.report import log as logs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

log = logging.getLogger(__name__)

_INTERRUPTING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What ends a run in order; SIGHUP comes where the line to the admin's terminal breaks."""


def main() -> NoReturn:
    """Run one command and exit with its documented code; an error is one line, a traceback only at debug."""
    for number in _INTERRUPTING:
        # One that is ignored stays so: nohup, and jobs in the background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        # Without its own exits, click gives back the code that `end_with` raised.
        sys.exit(cli(prog_name="kimai-backup", standalone_mode=False) or Exit.DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except KimaiBackupError as error:
        log.debug("traceback", exc_info=True)
        _fail("" if error.is_told else str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has had enough; stdout can't even be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAULT)
    except Exception as error:  # the last line of defence: told, with a code of its own
        log.debug("traceback", exc_info=True)
        _fail(f"unexpected fault: {type(error).__name__}: {error}. LOG_LEVEL=debug shows where", Exit.FAULT)


def _interrupt(number: int, _: "FrameType | None") -> None:
    # A second signal would cut short the tidying up that the first one began.
    for each in _INTERRUPTING:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(f"interrupted by {signal.Signals(number).name}")


def _fail(message: str, code: Exit) -> NoReturn:
    as_json = _runs_by_itself(sys.argv[1:]) and logs.is_json(os.environ.get("LOG_FORMAT", ""))
    for line in logs.redact(message).splitlines():
        sys.stderr.write(f"{logs.json_line(line) if as_json else f'kimai-backup: {line}'}\n")
    sys.exit(code)


def _runs_by_itself(arguments: "Sequence[str]") -> bool:
    """The daemon and what it starts: nobody is there to read but what collects the container's log."""
    return "--trigger" in arguments or arguments[:1] in (["run"], ["look"], ["tell"])


if __name__ == "__main__":
    main()
