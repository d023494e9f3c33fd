"""A run's record: whatever ends it, what is kept says how, and the log says it in one line."""

import io
import json
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.errors import Exit, Locked, Unreachable
from sidecar.history import History
from sidecar.recorder import LINES, recorded
from sidecar.report import log as logs
from sidecar.report.progress import progress
from sidecar.runs import Run, Started, Trigger


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("sidecar")
    before = (list(root.handlers), root.level, ours.level)
    monkeypatch.setattr(logs, "_redactor", logs.Redactor())
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream, run_id="r1", secrets=["hunter2hunter2"])
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


def started(trigger: Trigger = "schedule") -> Started:
    return Started(id="r1", command="backup", trigger=trigger, started_at=datetime.now(UTC))


def nobody(run: Run, lines: Sequence[str]) -> Sequence[str]:
    return ()


def last_line(stream: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return found


def test_what_it_told_is_kept_with_phases_and_log(history: History, stream: io.StringIO) -> None:
    with recorded(history, started(), lambda: None, nobody) as run:
        run.retries = lambda: 2
        with progress() as shown:
            watched = run.watch(shown)
            watched.phase("database", unit="items")
            watched.advance(7)
            watched.phase("files", total=9)
            watched.advance(9)
        run.tell(Exit.PARTIAL, "one, without a file", backup="x", lacks=["a file"])
        assert [each.id for each in history.running()] == ["r1"]
    [kept] = history.runs()
    assert (kept.exit_code, kept.summary, kept.backup, kept.lacks, kept.retries) == (
        3,
        "one, without a file",
        "x",
        ["a file"],
        2,
    )
    assert [(each.name, each.amount, each.unit) for each in kept.phases] == [
        ("database", 7, "items"),
        ("files", 9, "bytes"),
    ]
    assert kept.is_stored
    assert not kept.is_good
    log = history.log_of("r1")
    assert log[0].split(" ", 1)[1].startswith("info    database: done after")
    assert log[-1].endswith("s: one, without a file")
    said = last_line(stream)
    assert said["run_id"] == "r1"
    assert said["run"]["exit_code"] == 3  # type: ignore[index]
    assert "backup ended with exit code 3 after" in str(said["message"])


def test_an_error_is_kept_without_the_secret_in_it(history: History, stream: io.StringIO) -> None:
    with pytest.raises(Unreachable) as raised, recorded(history, started(), lambda: None, nobody):
        raise Unreachable("no answer to hunter2hunter2")
    [kept] = history.runs()
    assert (kept.exit_code, kept.summary) == (5, "no answer to ***")
    assert raised.value.is_told
    assert "hunter2" not in stream.getvalue() + "".join(history.log_of("r1"))


def test_a_fault_of_our_own_is_kept_as_one(history: History) -> None:
    with pytest.raises(ZeroDivisionError), recorded(history, started(), lambda: None, nobody):
        1 / 0  # noqa: B018
    [kept] = history.runs()
    assert (kept.exit_code, kept.summary) == (1, "unexpected fault: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(("trigger", "count"), [("hand", 0), ("schedule", 1)])
def test_a_run_by_hand_that_never_began_is_not_kept(history: History, trigger: Trigger, count: int) -> None:
    with pytest.raises(Locked), recorded(history, started(trigger), lambda: None, nobody):
        raise Locked("another one runs")
    assert len(history.runs()) == count


def test_who_started_it_by_hand_is_told_the_reason_at_the_end_only(history: History, stream: io.StringIO) -> None:
    with pytest.raises(Unreachable) as raised, recorded(history, started("hand"), lambda: None, nobody):
        raise Unreachable("no answer")
    assert not raised.value.is_told
    assert "no answer" not in str(last_line(stream)["message"])
    assert history.runs()[0].summary == "no answer"


def test_others_are_told_before_and_after(history: History) -> None:
    told: list[str] = []

    def after(run: Run, lines: Sequence[str]) -> Sequence[str]:
        told.append(f"{run.summary}, {len(lines)} lines")
        return ["failure"]

    with recorded(history, started(), lambda: told.append("before"), after) as run:
        run.tell(0, "fine")
    assert told == ["before", "fine, 1 lines"]
    assert history.runs()[0].told == ["failure"]


def test_only_the_last_lines_are_kept(history: History) -> None:
    with recorded(history, started(), lambda: None, nobody) as run:
        for number in range(LINES + 50):
            logging.getLogger("sidecar.x").info("line %d %s", number, "x" * 5000)
        run.tell(0, "fine")
    kept = history.log_of("r1")
    assert len(kept) == LINES
    assert kept[-2].split()[3] == str(LINES + 49)
    assert max(map(len, kept)) <= 2000


def test_a_history_that_cannot_be_written_is_said_and_stops_nothing(stream: io.StringIO) -> None:
    with recorded(History(Path("/proc/self/runs")), started(), lambda: None, nobody) as run:
        run.tell(0, "fine")
    assert "BACKUP_STATE_DIR: can't note what runs" in stream.getvalue()
    assert "BACKUP_STATE_DIR: can't keep a record of runs" in stream.getvalue()
