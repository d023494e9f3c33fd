"""Telling of runs, as the commands do it: what is sent, what is kept of it, and that nothing of it hurts."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.errors import Exit, Interrupted, UsageError
from sidecar.history import History
from sidecar.recorder import recorded
from sidecar.report import heartbeat, notify
from sidecar.report import log as logs
from sidecar.runs import KILLED, Command, Run, Started, Trigger
from sidecar.secret import ping_url
from sidecar.telling import Teller
from sidecar.values import service_urls
from tests.support.listener import Listener, closed_port, listening

NOW = datetime(2026, 11, 22, 1, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logs, "_redactor", logs.Redactor())
    monkeypatch.setattr(heartbeat, "_PAUSE", 0.05)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


@pytest.fixture
def teller(listener: Listener, history: History) -> Teller:
    return told_at(listener.notify_url, listener.heartbeat_url, history)


def told_at(notify_url: str, heartbeat_url: str, history: History, **options: Any) -> Teller:
    urls, pinged = service_urls(notify_url), ping_url(heartbeat_url)
    logs.hide(spelling for secret in (*urls, pinged) for spelling in secret.spellings())
    return Teller("demo", UTC, history, urls, pinged, **options)


def ran(
    number: int, code: int = 0, command: Command = "backup", trigger: Trigger = "schedule", told: tuple[str, ...] = ()
) -> Run:
    at = NOW + timedelta(days=number)
    return Run(
        id=f"run-{number}",
        command=command,
        trigger=trigger,
        started_at=at,
        finished_at=at,
        exit_code=code,
        summary="as it went",
        told=list(told),
    )


def test_a_failure_is_sent_and_pinged_once_for_all(teller: Teller, listener: Listener) -> None:
    teller.under_way("backup")
    teller.under_way("restore")
    assert teller.after(ran(0, 5), ["a line"]) == ["failure"]
    assert listener.beats == ["/start", "/fail"]
    assert listener.titles == ["demo: backup failed (exit 5) (2026-11-22 01:10 UTC)"]
    assert "as it went" in listener.notices[0]["message"]
    assert listener.notices[0]["message"].endswith("a line")
    assert listener.posts[1].text == "as it went\n\nThe log's last lines:\na line"


def test_a_good_run_only_pings_and_apprise_is_not_even_loaded(
    teller: Teller, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "send", None)
    assert teller.after(ran(0), []) == []
    assert listener.beats == [""]


@pytest.mark.parametrize(
    ("run", "beats"),
    [
        (ran(0, Exit.PARTIAL), [""]),
        (ran(0, KILLED), ["/fail"]),
        (ran(0, Exit.INTERRUPTED), []),
        (ran(0, Exit.LOCKED), []),
        (ran(0, 7, "verify"), []),
    ],
)
def test_what_is_pinged(teller: Teller, listener: Listener, run: Run, beats: list[str]) -> None:
    teller.after(run, [])
    assert listener.beats == beats


def test_a_missed_target_is_a_fail_for_the_watchdog(teller: Teller, listener: Listener) -> None:
    run = ran(0, Exit.PARTIAL)
    run.failed = {"s3": "no answer"}
    assert teller.after(run, []) == ["partial"]
    assert listener.beats == ["/fail"]


def test_a_listener_that_is_down_is_one_warning_and_the_next_run_tells(
    listener: Listener, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    down = told_at(f"json://u:pw4you@127.0.0.1:{closed_port()}/t0ken-t0ken", listener.heartbeat_url, history)
    assert down.after(ran(0, 5), []) == []
    [record] = [each for each in caplog.records if each.name.startswith("sidecar")]
    assert record.levelno == logging.WARNING
    assert "NOTIFY_URLS: not told of failure: json://*** (" in record.getMessage()
    assert "pw4you" not in caplog.text
    assert "t0ken" not in caplog.text
    history.add(ran(0, 5))
    up = told_at(listener.notify_url, listener.heartbeat_url, history)
    assert up.after(ran(1, 5, trigger="retry"), []) == ["failure"]


def test_one_of_two_is_enough(listener: Listener, history: History) -> None:
    both = f"json://127.0.0.1:{closed_port()}/x {listener.notify_url}"
    assert told_at(both, listener.heartbeat_url, history).after(ran(0, 5), []) == ["failure"]


def test_a_killed_run_is_told_of_once_and_that_is_remembered(
    teller: Teller, listener: Listener, history: History
) -> None:
    history.add(ran(0), ["fine"])
    history.add(ran(1, KILLED), ["its last line"])
    teller.tell("run-1")
    teller.tell("run-1")
    assert listener.titles == ["demo: backup was killed (2026-11-23 01:10 UTC)"]
    assert listener.notices[0]["message"].endswith("its last line")
    assert listener.beats == ["/fail"]
    assert [(run.id, run.told) for run in history.runs()] == [("run-0", []), ("run-1", ["failure"])]
    assert history.log_of("run-1") == ["its last line"]
    # Its retry fails: nobody is told again; the one that works is the recovery.
    assert teller.after(ran(1, KILLED, trigger="retry"), []) == []
    assert teller.after(ran(2), []) == ["recovery"]


def test_the_next_run_tells_of_killed_ones_where_no_daemon_does(
    teller: Teller, listener: Listener, history: History, tmp_path: Path
) -> None:
    history.add(ran(0))
    for number, command in enumerate(("backup", "backup", "verify"), 1):
        note = {
            "id": f"run-{number}",
            "command": command,
            "trigger": "hand",
            "started_at": NOW + timedelta(days=number),
        }
        (tmp_path / "runs" / f"run-{number}.running").write_bytes(msgspec.json.encode(note))
    for number in (4, 5):
        begun = Started(id=f"run-{number}", command="drill", trigger="hand", started_at=NOW)
        with history.under_way(begun):
            teller.before()
    assert [title.partition(" (")[0] for title in listener.titles] == [
        "demo: backup was killed",
        "demo: verify was killed",
    ]
    assert listener.beats == ["/fail"]
    assert [(run.id, run.told) for run in history.runs()][1:] == [
        ("run-1", []),
        ("run-2", ["failure"]),
        ("run-3", ["failure"]),
    ]


def test_a_history_that_takes_nothing_keeps_no_run_from_beginning(
    listener: Listener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "lock").mkdir()
    teller = told_at(listener.notify_url, listener.heartbeat_url, History(tmp_path / "runs"))
    teller.before()
    assert "BACKUP_STATE_DIR: can't keep a record of runs" in caplog.text
    assert listener.posts == []


def test_a_run_that_nobody_knows_is_wrong_usage(teller: Teller) -> None:
    with pytest.raises(UsageError, match="no run x is remembered for the instance demo"):
        teller.tell("x")


def test_runs_after_the_one_that_is_told_do_not_count(teller: Teller, listener: Listener, history: History) -> None:
    history.add(ran(0, KILLED))
    history.add(ran(1))
    teller.tell("run-0")
    assert len(listener.notices) == 1
    # The watchdog has heard since that all is well.
    assert listener.beats == []


@pytest.mark.parametrize("error", [ZeroDivisionError("in telling"), Interrupted("interrupted by SIGTERM")])
def test_a_fault_in_telling_changes_neither_record_nor_end(
    history: History, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def after(*_: object) -> list[str]:
        raise error

    started = Started(id="r1", command="backup", trigger="schedule", started_at=NOW)
    with recorded(history, started, lambda: None, after) as recording:
        recording.tell(Exit.DONE, "fine")
    [run] = history.runs()
    assert (run.exit_code, run.summary, run.told) == (0, "fine", [])
    assert "others may not have been told how this run ended" in caplog.text


def test_a_fault_in_telling_of_the_start_is_a_warning(history: History, caplog: pytest.LogCaptureFixture) -> None:
    def before() -> None:
        raise RuntimeError("can't start new thread")

    started = Started(id="r1", command="backup", trigger="schedule", started_at=NOW)
    with recorded(history, started, before, lambda *_: []) as recording:
        recording.tell(Exit.DONE, "fine")
    assert [run.exit_code for run in history.runs()] == [0]
    assert "others may not have been told that this run began: RuntimeError: can't start new thread" in caplog.text


def test_a_run_that_is_told_to_end_while_it_tells_of_its_start_is_kept(history: History) -> None:
    def before() -> None:
        raise Interrupted("interrupted by SIGTERM")

    started = Started(id="r1", command="backup", trigger="schedule", started_at=NOW)
    with pytest.raises(Interrupted), recorded(history, started, before, lambda *_: []):
        raise AssertionError
    assert [run.exit_code for run in history.runs()] == [Exit.INTERRUPTED]


# ── The doctor ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_doctor_reads_urls_and_sends_nothing(listener: Listener, history: History) -> None:
    teller = told_at(f"{listener.notify_url} nosuchservice://t0ken", listener.heartbeat_url, history)
    found = list(teller.examine(send=False))
    assert [(what, int(code)) for what, _, _, code in found] == [
        ("notifier json://***", 0),
        ("notifier nosuchservice://***", 4),
        (f"heartbeat http://127.0.0.1:{listener.port}/***", 0),
    ]
    assert found[1][1] == "apprise can't read this URL"
    assert listener.posts == []


def test_the_doctor_tries_them_when_asked(listener: Listener, history: History) -> None:
    listener.statuses = [200, 500]
    teller = told_at(listener.notify_url, listener.heartbeat_url, history)
    assert next(found[1] for found in teller.examine(send=True)) == "took a test notice"
    assert listener.titles[0].startswith("demo: a test of kimai-backup (")
    [found, _] = teller.examine(send=True)
    assert "500" in found[1]
    assert found[3] == Exit.CONFIGURATION


def test_the_doctor_says_that_nobody_is_told(history: History) -> None:
    [found] = Teller("demo", UTC, history).examine(send=True)
    assert "nobody is told" in found[1]
    assert found[3] == Exit.DONE
