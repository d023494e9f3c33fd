"""The report that each restore leaves in the state folder: what was asked, checked, done, found, and how it ended."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from sidecar import __version__
from sidecar.durable import write_whole
from sidecar.errors import Exit, Interrupted, KimaiBackupError, NoSuchBackup, UsageError
from sidecar.manifest import TIME_FORMAT
from sidecar.report import log as logs
from sidecar.restore_job import Job, Report

log = logging.getLogger(__name__)

KEEP = 50
"""How many reports are kept, the newest ones."""
LINES = 200
"""How many of the log's last lines are in one."""

_NO_RESTORE = (UsageError, NoSuchBackup)
"""Nothing was meant that there is: no restore began."""

Outcome = Literal["under way", "restored", "rolled back", "refused", "interrupted", "failed"]


class RestoreReport(msgspec.Struct, kw_only=True):
    """What a restore leaves behind, times in UTC. One that stays `under way` was killed.

    `asked` is what was given on the command line. `checked` are the checks that passed, `done` the steps after them,
    `found` what an admin should know. `reason` says why it failed, `journal` names the file that is left where not all
    was taken back. No secret ever.
    """

    format: int = 1
    tool_version: str = __version__
    started_at: datetime
    finished_at: datetime | None = None
    asked: dict[str, Any]
    backup: str
    kimai: str
    database: str
    outcome: Outcome = "under way"
    exit_code: int | None = None
    reason: str | None = None
    journal: str | None = None
    checked: list[str] = []
    done: list[str] = []
    found: list[str] = []
    log: list[str] = []


@contextmanager
def reported(job: Job, reference: str, *, dry_run: bool, **asked: Any) -> Iterator[Report]:
    """A report to fill, kept in the state folder however the block ends; that of a dry run is not.

    It is written at each step, so that a kill leaves how far it came. A folder that can't be written to is said, and
    no reason to end.
    """
    report = Report(reference, dry_run=dry_run)
    if dry_run:
        yield report
        return
    given = {"reference": reference, **{name: value for name, value in asked.items() if value}}
    with logs.tail(LINES) as lines:
        kept = _Kept(job, report, given, lines)
        report.on_change = kept.write
        kept.write()
        try:
            yield report
        except _NO_RESTORE:
            kept.forget()
            raise
        except KimaiBackupError as error:
            kept.end(_outcome(error), error.exit_code, str(error))
            raise
        except BaseException as error:
            kept.end("failed", Exit.FAULT, f"unexpected fault: {type(error).__name__}: {error}")
            raise
        kept.end("rolled back" if report.is_rolled_back else "restored", report.exit_code, None)


def _outcome(error: KimaiBackupError) -> Outcome:
    if isinstance(error, Interrupted):
        return "interrupted"
    return "refused" if error.exit_code is Exit.REFUSED else "failed"


class _Kept:
    """One report and its file."""

    def __init__(self, job: Job, report: Report, asked: dict[str, Any], lines: Sequence[str]) -> None:
        self._job = job
        self._report = report
        self._lines = lines
        self._is_writable = True
        self._said = RestoreReport(
            started_at=datetime.now(UTC).replace(microsecond=0),
            asked={name: _plainly(value) for name, value in asked.items()},
            backup=_plain(report.backup),
            kimai=_plain(str(job.kimai.root)),
            database=job.redacted_url,
        )
        self._path = self._new_path(job.state.reports)

    def _new_path(self, folder: Path) -> Path:
        """Named by its start; two within one second follow each other."""
        at = self._said.started_at
        while os.path.lexists(path := folder / f"{at.strftime(TIME_FORMAT)}.json"):
            at += timedelta(seconds=1)
        return path

    def write(self) -> None:
        """Put down what is known by now."""
        if not self._is_writable:
            return
        said, report = self._said, self._report
        said.backup = _plain(report.backup)
        said.checked = _clean(report.checked)
        said.done = _clean(step for step in report.steps if step not in report.checked)
        said.found = _clean(report.notes)
        said.log = [_plain(line) for line in self._lines]
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(said), indent=1) + b"\n")
        except OSError as error:
            self._is_writable = False
            log.warning("the report of this restore, %s, can't be written: %s", self._path, error.strerror)

    def end(self, outcome: Outcome, exit_code: int, reason: str | None) -> None:
        """Put down how it ended, and let the oldest reports go."""
        said = self._said
        said.finished_at = max(said.started_at, datetime.now(UTC).replace(microsecond=0))
        said.outcome, said.exit_code = outcome, int(exit_code)
        said.reason = None if reason is None else _plain(logs.redact(reason))
        journal = self._job.state.journal
        said.journal = _plain(str(journal)) if os.path.lexists(journal) else None
        self._is_writable = True
        self.write()
        if self._is_writable:
            log.info("the report of this restore is %s", self._path)
        _forget_the_oldest(self._path.parent)

    def forget(self) -> None:
        """No restore was meant."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.debug("%s stays: %s", self._path, error)


def _clean(lines: Iterable[str]) -> list[str]:
    return [_plain(logs.redact(line)) for line in lines]


def _plainly(value: Any) -> Any:
    """What was asked, whatever bytes were given on the command line."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    """As JSON can hold it: of a name that isn't UTF-8 the bytes are spelt out."""
    return text.encode(errors="backslashreplace").decode()


def _forget_the_oldest(folder: Path) -> None:
    try:
        for path in (*sorted(folder.glob("*.json"))[:-KEEP], *folder.glob("*.part")):
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("old reports of restores stay in %s: %s", folder, error.strerror)
