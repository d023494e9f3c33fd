"""Telling: of each run's start and end those are told who asked for it, and nothing of that changes how a run ends."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import msgspec

from sidecar.errors import Exit, StorageFailed, UsageError
from sidecar.history import History
from sidecar.letters import letter, short
from sidecar.notices import due, local
from sidecar.report import heartbeat, log, notify
from sidecar.runs import Command, Run
from sidecar.secret import Secret

_log = logging.getLogger(__name__)

_SET_ONE = "Set NOTIFY_URLS, or watch the exit codes."
_LOOK = "Look at NOTIFY_URLS, and whether that service can be reached from here."


@dataclass(frozen=True)
class Teller:
    """Who is told, and of what. `unproven_days` is None where nobody is told how long ago the last proof was."""

    instance: str
    tz: tzinfo
    history: History
    urls: Sequence[Secret] = ()
    heartbeat_url: Secret | None = None
    on_success: bool = False
    unproven_days: int | None = None

    def before(self) -> None:
        """A run begins: where no daemon looks, it is the next run that finds those that were killed, and tells."""
        try:
            killed = self.history.settle()
        except StorageFailed as error:
            _log.warning("%s", error)
            return
        for run in killed:
            _log.error("%s (run %s)", run.summary, run.id)
        # Each telling may take as long as its deadlines: of several the newest says it all.
        for run in {run.command: run for run in killed}.values():
            self.tell(run.id)

    def under_way(self, command: Command) -> None:
        """A run has the lock: no other one is at work, whose end the watchdog would take for the end of this one."""
        if self.heartbeat_url and command == "backup":
            heartbeat.ping(self.heartbeat_url, "start")

    def after(self, run: Run, lines: Sequence[str]) -> list[str]:
        """A run has ended and is not in the history yet. Gives the kinds of notices that somebody took."""
        self._ping(run, lines)
        return self._notify(self.history.runs(), run, lines)

    def tell(self, run_id: str, record: str | None = None) -> None:
        """Tell of a run that could not do it itself, as it was killed; never a second time.

        `record` stands for what the history would say of it, as JSON, where that could not be written to.
        """
        runs = self.history.runs()
        number = next((number for number, run in enumerate(runs) if run.id == run_id), len(runs))
        if number == len(runs):
            if record is None:
                raise UsageError(f"no run {run_id} is remembered for the instance {self.instance}")
            runs.append(msgspec.json.decode(record, type=Run))
        run = runs[number]
        if run.told:
            return
        # The watchdog knows of no time but now: one that went well since is what it should know.
        if not any(each.command == run.command and each.is_stored for each in runs[number:]):
            self._ping(run, self.history.log_of(run_id))
        if told := self._notify(runs[:number], run, self.history.log_of(run_id)):
            try:
                # The later record of a run holds.
                self.history.add(msgspec.structs.replace(run, told=told))
            except StorageFailed as error:
                _log.warning("%s", error)

    def examine(self, *, send: bool) -> Iterator[tuple[str, str, str, Exit]]:
        """For the doctor: each of those who are told, what is to be known, the mend, the code. `send`: try it."""
        if not self.urls:
            yield "notifications", "NOTIFY_URLS is not set: nobody is told of a backup that fails", _SET_ONE, Exit.DONE
        if send:
            title = f"{self.instance}: a test of kimai-backup ({local(datetime.now(UTC), self.tz)})"
            answers = notify.send(self.urls, title, "So you will be told of backups. Nothing happened.", "success")
        else:
            answers = notify.read(self.urls)
        for url, problem in answers:
            seen = problem or ("took a test notice" if send else "can be read; --notify sends a test notice there")
            yield f"notifier {url}", seen, _LOOK if problem else "", Exit.CONFIGURATION if problem else Exit.DONE
        if self.heartbeat_url:
            yield f"heartbeat {self.heartbeat_url}", "is pinged at the start and the end of each backup", "", Exit.DONE

    def _ping(self, run: Run, lines: Sequence[str]) -> None:
        # Whoever ends a run doesn't want to wait for the watchdog, which will miss the end of it in time. One that met
        # the lock has told it of no start, and the one that holds it tells of its own end.
        silent = (Exit.INTERRUPTED, Exit.LOCKED)
        if self.heartbeat_url and run.command == "backup" and run.exit_code not in silent:
            beat: heartbeat.Beat = "success" if run.is_stored else "fail"
            heartbeat.ping(self.heartbeat_url, beat, short(run, lines, log.redact))

    def _notify(self, before: Sequence[Run], run: Run, lines: Sequence[str]) -> list[str]:
        if not self.urls:
            return []
        notices = due(before, run, self.tz, on_success=self.on_success, unproven_days=self.unproven_days)
        if not notices:
            return []
        title, body, tone = letter(self.instance, notices, run, lines, self.tz, log.redact)
        answers = notify.send(self.urls, title, body, tone)
        lost = [f"{answer.url} ({answer.problem})" for answer in answers if answer.problem]
        if lost:
            _log.warning(
                "NOTIFY_URLS: not told of %s: %s. Try it with: kimai-backup doctor --notify",
                ", ".join(notice.kind for notice in notices),
                "; ".join(lost),
            )
        if len(lost) == len(answers):
            return []
        return [notice.kind for notice in notices]
