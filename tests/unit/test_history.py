"""The history of runs: what is remembered, what was killed, and what a full or lost disk does to it."""

import errno
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from sidecar.errors import StorageFailed
from sidecar.history import KEEP_LOGS, History
from sidecar.runs import KEEP_RUNS, KILLED, Run, Started, new_id

NOW = datetime(2026, 11, 22, 1, 10, tzinfo=UTC)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


def started(number: int = 0) -> Started:
    at = NOW + timedelta(days=number)
    return Started(id=new_id(at), command="backup", trigger="schedule", started_at=at)


def run(number: int = 0, exit_code: int = 0) -> Run:
    begun = started(number)
    return Run(
        **msgspec.structs.asdict(begun),
        finished_at=begun.started_at + timedelta(seconds=3),
        exit_code=exit_code,
        summary="done",
    )


def test_ids_sort_by_the_time_a_run_began() -> None:
    ids = [new_id(NOW + timedelta(seconds=number)) for number in range(5)]
    assert sorted(ids) == ids
    assert len({new_id(NOW) for _ in range(50)}) == 50


def test_before_the_first_run_there_is_nothing_and_nothing_is_made(history: History, tmp_path: Path) -> None:
    assert (history.runs(), history.running(), history.settle(), history.log_of("x")) == ([], [], [], [])
    assert list(tmp_path.iterdir()) == []


def test_runs_come_back_oldest_first_with_their_logs(history: History) -> None:
    runs = [run(number) for number in range(3)]
    for each in runs:
        history.add(each, ["a line", "ümlaut"])
    assert history.runs() == runs
    assert history.log_of(runs[0].id) == ["a line", "ümlaut"]


def test_the_newest_record_of_a_run_holds_in_the_place_of_its_first(history: History) -> None:
    first, second = run(0), run(1)
    history.add(first, ["its log"])
    history.add(second)
    told = msgspec.structs.replace(first, told=["failure"])
    history.add(told)
    assert history.runs() == [told, second]
    assert history.log_of(first.id) == ["its log"]


def test_a_run_is_under_way_until_it_has_ended(history: History) -> None:
    begun = started()
    with history.under_way(begun):
        assert history.running() == [begun]
        assert history.settle() == []
    assert history.running() == []
    assert history.settle() == []


def test_a_killed_run_is_found_out_once(history: History, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom datetime import UTC, datetime\n"
        "from sidecar.history import History\nfrom sidecar.runs import Started\n"
        "begun = Started(id='1', command='backup', trigger='hand', started_at=datetime(2026, 1, 1, tzinfo=UTC))\n"
        "with History(Path(sys.argv[1])).under_way(begun):\n    print('begun', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert [each.id for each in history.running()] == ["1"]
        assert history.settle() == []
        os.kill(process.pid, signal.SIGKILL)
    assert history.running() == []
    [killed] = history.settle()
    assert (killed.id, killed.command, killed.exit_code) == ("1", "backup", KILLED)
    assert "killed" in killed.summary
    assert history.runs() == [killed]
    assert history.settle() == []


def test_one_that_had_told_how_it_ended_is_no_killed_one(history: History, tmp_path: Path) -> None:
    ended = run()
    history.add(ended)
    note = {"id": ended.id, "command": "backup", "trigger": "hand", "started_at": NOW}
    (tmp_path / "runs" / f"{ended.id}.running").write_bytes(msgspec.json.encode(note))
    assert history.settle() == []
    assert history.runs() == [ended]
    assert list((tmp_path / "runs").glob("*.running")) == []


def test_a_note_that_says_nothing_is_removed_and_said(
    history: History, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history.add(run())
    (tmp_path / "runs" / "x.running").write_bytes(b"")
    assert history.settle() == []
    assert "x.running tells of no run" in caplog.text
    assert not (tmp_path / "runs" / "x.running").exists()


def test_a_line_cut_by_a_power_cut_costs_that_run_alone(history: History, tmp_path: Path) -> None:
    first, last = run(0), run(2)
    history.add(first)
    with (tmp_path / "runs" / "runs.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(run(1))[:40])
    history.add(last)
    assert history.runs() == [first, last]


def test_the_oldest_are_forgotten(history: History, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    many = [run(number) for number in range(KEEP_RUNS * 5 // 4)]
    (tmp_path / "runs" / "runs.jsonl").write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in many))
    newest = run(len(many))
    history.add(newest)
    assert history.runs() == [many[0], *[*many, newest][-KEEP_RUNS:]]


def test_frequent_backups_push_out_neither_the_first_run_nor_the_newest_of_each_command(
    history: History, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    first, old_drill, proof, failed_drill, ended_drill, verify = rare = [run(number) for number in range(6)]
    for each in (old_drill, proof, failed_drill, ended_drill):
        each.command = "drill"
    verify.command = "verify"
    failed_drill.exit_code, ended_drill.exit_code = 7, 130
    backups = [run(number) for number in range(6, 6 + KEEP_RUNS * 5 // 4)]
    lines = (msgspec.json.encode(each) + b"\n" for each in (*rare, *backups[:-1]))
    (tmp_path / "runs" / "runs.jsonl").write_bytes(b"".join(lines))
    history.add(backups[-1])
    assert history.runs() == [first, proof, failed_drill, ended_drill, verify, *backups[-KEEP_RUNS:]]


def test_a_full_disk_is_left_without_halves(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    history.add(run(0), ["line"])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left"):
        history.add(run(1), ["line"])
    assert list((tmp_path / "runs").glob("*.part")) == []


def test_halves_of_a_killed_run_are_removed(history: History, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x.part").write_bytes(b"half a lo")
    history.add(run())
    assert list((tmp_path / "runs").glob("*.part")) == []


def test_logs_of_the_newest_runs_alone_are_kept(history: History) -> None:
    runs = [run(number) for number in range(KEEP_LOGS + 2)]
    for each in runs:
        history.add(each, ["line"])
    assert [bool(history.log_of(each.id)) for each in runs] == [False, False] + [True] * KEEP_LOGS


def test_a_folder_that_takes_nothing_is_told_in_one_line() -> None:
    history = History(Path("/proc/self/runs"))
    with pytest.raises(StorageFailed, match="BACKUP_STATE_DIR: can't keep a record of runs"):
        history.add(run())
    with pytest.raises(StorageFailed, match="BACKUP_STATE_DIR: can't note what runs"), history.under_way(started()):
        pass
