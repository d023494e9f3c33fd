"""Recording a run: its phases, its log and how it ended go into the history, whatever ends it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from sidecar.errors import Exit, Interrupted, KimaiBackupError, Locked, NoSuchBackup, StorageFailed, UsageError
from sidecar.history import History
from sidecar.report import log as logs
from sidecar.report.progress import Progress, Timed
from sidecar.runs import Phase, Run, Started

log = logging.getLogger(__name__)

LINES = 200
"""How many lines of a run's log are kept with it."""
LACKS = 100
"""How many names of what was missing are kept: the manifest has them all."""
_NO_RUN = (UsageError, NoSuchBackup, Locked)
"""What ends a run by hand before it has begun: nothing that anybody must be told of a second time."""


class Recording:
    """What becomes known of a run while it goes on."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self.exit_code: int = Exit.DONE
        self.summary = ""
        self.retries: Callable[[], int] = lambda: 0
        self._facts: dict[str, Any] = {}
        self._timed: Timed | None = None

    def watch(self, progress: Progress) -> Progress:
        """The same progress, whose phases are kept with the run."""
        self._timed = Timed(progress)
        return self._timed

    def tell(self, exit_code: int, summary: str, **facts: Any) -> None:
        """How it ended, in a sentence, with fields of `Run`."""
        self.exit_code, self.summary = exit_code, summary
        self._facts |= facts

    def run(self, now: datetime) -> Run:
        """The record, as it ends now."""
        timed = self._timed.phases() if self._timed else []
        phases = [Phase(*each) for each in timed]
        return Run(
            **msgspec.structs.asdict(self.started),
            finished_at=max(now, self.started.started_at),
            exit_code=int(self.exit_code),
            summary=self.summary,
            phases=phases,
            retries=self.retries(),
            **self._facts,
        )


@contextmanager
def recorded(
    history: History,
    started: Started,
    before: Callable[[], None],
    after: Callable[[Run, Sequence[str]], Sequence[str]],
) -> Iterator[Recording]:
    """Keep a record of what the block does. A history that can't be written to is said, and is no reason to end.

    `before` and `after` tell others; `after` gets the last lines of the log, and gives the notices that were sent.
    """
    recording = Recording(started)
    with ExitStack() as entered:
        lines = entered.enter_context(logs.tail(LINES))
        try:
            entered.enter_context(history.under_way(started))
        except StorageFailed as error:
            log.warning("%s", error)
        try:
            unharmed(before)
            yield recording
        except KimaiBackupError as error:
            recording.tell(error.exit_code, str(error))
            if started.trigger != "hand" or not isinstance(error, _NO_RUN):
                # Who started it by hand is told the error itself at the end.
                error.is_told = started.trigger != "hand"
                _end(history, recording, lines, after, with_reason=error.is_told)
            raise
        except Exception as error:
            recording.tell(Exit.FAULT, f"unexpected fault: {type(error).__name__}: {error}")
            _end(history, recording, lines, after)
            raise
        _end(history, recording, lines, after)


def _end(
    history: History,
    recording: Recording,
    lines: Sequence[str],
    after: Callable[[Run, Sequence[str]], Sequence[str]],
    *,
    with_reason: bool = True,
) -> None:
    run = recording.run(datetime.now(UTC))
    run.summary = logs.redact(run.summary)
    run.failed = {name: logs.redact(why) for name, why in run.failed.items()}
    run.lacks = [logs.redact(what) for what in run.lacks[:LACKS]]
    _summarise(run, run.summary if with_reason else "")
    run.told = _told(after, run, lines)
    try:
        history.add(run, lines)
    except StorageFailed as error:
        log.warning("%s", error)


def unharmed(tell: Callable[[], None]) -> None:
    """Tell others that a run begins. Raises `Interrupted`, and nothing else."""
    try:
        tell()
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - whoever can't be told of a backup is no reason to make none
        log.warning("others may not have been told that this run began: %s: %s", type(error).__name__, error)


def _told(after: Callable[[Run, Sequence[str]], Sequence[str]], run: Run, lines: Sequence[str]) -> list[str]:
    """What others were told. The run has ended: whatever happens here changes neither its record nor its exit code."""
    try:
        return list(after(run, lines))
    except Interrupted as error:
        log.warning("others may not have been told how this run ended: %s", error)
    except Exception as error:  # noqa: BLE001 - a fault in telling must not make a failure of a good backup
        log.warning("others may not have been told how this run ended: %s: %s", type(error).__name__, error)
    return []


def _summarise(run: Run, reason: str) -> None:
    """The one line that says all: what ran, how it ended, how long it took."""
    level = logging.INFO if run.is_good else logging.WARNING if run.is_stored else logging.ERROR
    message = f"{run.command} ended with exit code {run.exit_code} after {run.seconds:.1f} s"
    fields = {"run": msgspec.to_builtins(run)}
    log.log(level, "%s", f"{message}: {reason}" if reason else message, extra={"fields": fields})
