"""Health tells each reason why a container is not healthy, and is not in the way of what runs."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sidecar.cli import cli
from sidecar.errors import Exit
from sidecar.health import Facts, Job, examine, judge
from sidecar.history import History
from sidecar.look import look
from sidecar.restore_note import RestoreNote
from sidecar.retention import Policy
from sidecar.runs import Command, Run, Started
from sidecar.schedule import Cron, Plan
from sidecar.since import Since
from sidecar.state import State
from sidecar.status import Kept, Look, Shelf
from sidecar.storage.local import LocalStorage

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NIGHTLY = Plan("backup", Cron("10 1 * * *", UTC), by_hand_counts=True)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "backups").mkdir()
    (tmp_path / "kimai").mkdir()
    return job_of(tmp_path)


def job_of(folder: Path, plan: Plan | None = NIGHTLY, state: State | None = None) -> Job:
    def taken() -> Look:
        return look([LocalStorage(folder / "backups")], "kimai", lambda _: Policy(), NOW, UTC)

    history = History(folder / "state" / "kimai.runs")
    state = state or State(folder / "state", "kimai", folder / "kimai")
    return Job(taken, history.runs, history.running, plan, Since(folder / "state" / "kimai.since.json"), state)


def problems(job: Job) -> list[str]:
    return examine(job, NOW).problems


def note(phase: str = "under way") -> RestoreNote:
    found = RestoreNote(backup="kimai_kimai_2.66.0_20261122T011000Z", database="kimai", run_id="1", root="/opt/kimai")
    found.phase = "settled" if phase == "settled" else "under way"
    return found


def test_it_is_healthy_where_nothing_is_wrong(job: Job, tmp_path: Path) -> None:
    assert problems(job) == []
    assert list((tmp_path / "backups").iterdir()) == []
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["kimai.since.began"]


def test_a_target_that_is_gone_is_named(job: Job, tmp_path: Path) -> None:
    (tmp_path / "backups").rmdir()
    [problem] = problems(job)
    assert problem.startswith("target local: ")
    assert str(tmp_path / "backups") in problem


def test_every_problem_is_told_not_just_the_first(job: Job, tmp_path: Path) -> None:
    (tmp_path / "backups").rmdir()
    (tmp_path / "state").write_text("in the way")
    assert len(problems(job)) == 2


def test_a_state_folder_that_takes_no_file_is_named(job: Job, tmp_path: Path) -> None:
    # Not even root may make a file there.
    broken = job_of(tmp_path, state=State(Path("/proc/self"), "kimai", tmp_path / "kimai"))
    [problem] = problems(broken)
    assert "BACKUP_STATE_DIR /proc/self" in problem


def test_a_killed_restore_is_pending(job: Job) -> None:
    job.state.write_restore_note(note())
    [problem] = problems(job)
    assert "cut short" in problem
    assert "kimai-backup restore kimai_kimai_2.66.0_20261122T011000Z" in problem


def test_a_restore_that_runs_is_not_a_killed_one(job: Job) -> None:
    with job.state.lock("restore"):
        job.state.write_restore_note(note())
        assert problems(job) == []
    assert problems(job) != []


def test_a_restore_that_only_lacks_its_tidying_up_is_no_problem(job: Job) -> None:
    job.state.write_restore_note(note("settled"))
    assert problems(job) == []


def test_a_backup_that_runs_is_not_in_the_way(job: Job) -> None:
    with job.state.lock("backup"):
        assert problems(job) == []


def test_a_journal_that_cannot_be_read_is_a_problem(job: Job) -> None:
    (job.state.folder / job.state.journal.name).write_bytes(b"{")
    [problem] = problems(job)
    assert str(job.state.journal) in problem


# ── The age of backups ───────────────────────────────────────────────────────────────────────────────────────────


LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shelf(*times: str, target: str = "local", **more: bool) -> Shelf:
    backups = [Kept(id=time, created_at=at(time), kimai_version="2.66.0", size=1, **more) for time in times]
    return Shelf(target=target, backups=backups)


def ran(begun: str, code: int = 0, command: Command = "backup", **more: Any) -> Run:
    time = at(begun)
    return Run(
        id=begun, command=command, started_at=time, finished_at=time, exit_code=code, summary="no answer", **more
    )


def judged(now: str, *shelves: Shelf, runs: Sequence[Run] = (), **more: Any) -> list[str]:
    facts: dict[str, Any] = {"running": (), "plan": NIGHTLY, "since": LONG_AGO, "targets": {}}
    return judge(Facts(shelves, runs, **(facts | more)), at(now))


def test_one_missed_night_is_forgiven_and_the_second_is_not() -> None:
    last = shelf("2026-11-20T01:10:02")
    assert judged("2026-11-21T23:00", last) == []
    assert judged("2026-11-22T01:39:59", last) == [], "the run of this night may be on its way"
    [problem] = judged("2026-11-22T01:40:00", last)
    assert problem.startswith(
        "target local: its newest whole backup is of 2026-11-20 01:10 UTC, and there should be one"
    )
    assert "since 2026-11-21 01:10 UTC (BACKUP_SCHEDULE 10 1 * * *)" in problem
    assert "see that `kimai-backup run` runs" in problem


def test_the_reason_is_the_newest_run_s_own() -> None:
    runs = [ran("2026-11-21T01:10", 6), ran("2026-11-22T03:20", 5), ran("2026-11-22T04:00", 6, "verify")]
    [problem] = judged("2026-11-22T12:00", shelf("2026-11-20T01:10"), runs=runs)
    assert problem.endswith("The newest run, of 2026-11-22 03:20 UTC, ended with exit code 5: no answer")


def test_each_target_is_judged_by_itself() -> None:
    [problem] = judged("2026-11-22T12:00", shelf("2026-11-22T01:10"), shelf("2026-11-19T01:10", target="s3"))
    assert problem.startswith("target s3: ")


def test_safety_backups_damaged_ones_and_those_of_the_future_are_no_fresh_ones() -> None:
    old = shelf("2026-11-19T01:10")
    for odd in (
        shelf("2026-11-22T01:10", safety=True),
        shelf("2026-11-22T01:10", damaged=True),
        shelf("2030-01-01T01:10"),
    ):
        both = Shelf(target="local", backups=[*odd.backups, *old.backups])
        assert len(judged("2026-11-22T12:00", both)) == 1
    assert judged("2026-11-22T12:00", shelf("2026-11-22T12:04")) == []


def test_a_backup_under_way_does_not_turn_it_red() -> None:
    last = shelf("2026-11-20T01:10:02")
    running = [Started(id="1", command="backup", trigger="schedule", started_at=at("2026-11-22T01:10:01"))]
    assert judged("2026-11-22T06:00", last, running=running) == []
    assert len(judged("2026-11-23T06:00", last, running=running)) == 1, "one that never ends is no excuse"
    verifying = [Started(id="1", command="verify", trigger="schedule", started_at=at("2026-11-22T01:10:01"))]
    assert len(judged("2026-11-22T06:00", last, running=verifying)) == 1


def test_an_empty_target_counts_from_when_it_was_first_seen() -> None:
    empty = shelf()
    assert judged("2026-11-22T12:00", empty, since=at("2026-11-22T11:00")) == []
    new = {"local": at("2026-11-21T12:00")}
    assert judged("2026-11-22T12:00", empty, targets=new) == []
    [problem] = judged("2026-11-23T12:00", empty, targets=new)
    assert "it holds no whole backup" in problem


def test_a_new_schedule_does_not_ask_for_what_it_did_not_promise() -> None:
    weekly = shelf("2026-11-15T01:10")
    assert judged("2026-11-22T12:00", weekly, since=at("2026-11-22T10:00")) == []
    assert judged("2026-11-24T12:00", weekly, since=at("2026-11-22T10:00")) != []


def test_without_a_schedule_no_age_is_judged_and_that_is_said(tmp_path: Path) -> None:
    assert judged("2026-11-22T12:00", shelf("2020-01-01T00:00"), plan=None) == []
    (tmp_path / "backups").mkdir()
    found = examine(job_of(tmp_path, plan=None), NOW)
    assert (found.problems, len(found.notes)) == ([], 1)
    assert "no BACKUP_SCHEDULE is set" in found.notes[0]


def test_the_newest_drill_must_not_have_failed() -> None:
    good, bad = ran("2026-11-20T05:00", 0, "drill"), ran("2026-11-21T05:00", 7, "drill")
    fresh = shelf("2026-11-22T01:10")
    [problem] = judged("2026-11-22T12:00", fresh, runs=[good, bad])
    assert problem == "the newest drill, of 2026-11-21 05:00 UTC, failed (exit 7): no answer"
    assert judged("2026-11-22T12:00", fresh, runs=[bad, ran("2026-11-22T05:00", 0, "drill")]) == []
    interrupted = ran("2026-11-22T05:00", 130, "drill")
    assert judged("2026-11-22T12:00", fresh, runs=[good, interrupted]) == []
    assert len(judged("2026-11-22T12:00", fresh, runs=[bad, interrupted])) == 1


def test_damage_that_verify_found_stands_until_a_verify_is_good() -> None:
    fresh = shelf("2026-11-22T01:10")
    bad = ran("2026-11-22T05:00", 7, "verify")
    [problem] = judged("2026-11-22T12:00", fresh, runs=[ran("2026-11-21T05:00", 0, "verify"), bad])
    assert problem.startswith("the verify of 2026-11-22 05:00 UTC found damage (exit 7): no answer. ")
    for code in (6, 130, 137, 9):
        assert judged("2026-11-22T12:00", fresh, runs=[bad, ran("2026-11-22T06:00", code, "verify")]) == [problem]
        assert judged("2026-11-22T12:00", fresh, runs=[ran("2026-11-22T06:00", code, "verify")]) == []
    assert judged("2026-11-22T12:00", fresh, runs=[bad, ran("2026-11-22T06:00", 0, "verify")]) == []
    assert judged("2026-11-22T12:00", fresh, runs=[bad, ran("2026-11-22T06:00", 0)]) == [problem]


def test_a_verify_of_another_backup_takes_no_damage_back() -> None:
    fresh = shelf("2026-11-22T01:10")
    of_all, of_one = ran("2026-11-22T05:00", 7, "verify"), ran("2026-11-22T06:00", 7, "verify", backup="one")
    other, same = (ran("2026-11-22T07:00", 0, "verify", backup=name) for name in ("other", "one"))
    everything = ran("2026-11-22T08:00", 0, "verify")
    noon = "2026-11-22T12:00"
    assert judged(noon, fresh, runs=[of_all, same])[0].startswith("the verify of 2026-11-22 05:00 UTC")
    assert judged(noon, fresh, runs=[of_one, other])[0].startswith("the verify of 2026-11-22 06:00 UTC")
    assert judged(noon, fresh, runs=[of_one, same]) == []
    assert judged(noon, fresh, runs=[of_all, of_one, everything]) == []


def test_a_verify_that_opened_nothing_takes_no_damage_back_that_one_with_a_key_found() -> None:
    fresh, noon = shelf("2026-11-22T01:10"), "2026-11-22T12:00"
    with_key = ran("2026-11-22T05:00", 7, "verify", keyed=True)
    without, closed = ran("2026-11-22T06:00", 7, "verify"), ran("2026-11-22T07:00", 0, "verify", unopened=2)
    opened = ran("2026-11-22T08:00", 0, "verify", keyed=True)
    [problem] = judged(noon, fresh, runs=[with_key, closed])
    assert problem.startswith("the verify of 2026-11-22 05:00 UTC")
    assert "with BACKUP_IDENTITY set" in problem
    # What it found itself, from outside, it takes back.
    assert judged(noon, fresh, runs=[with_key, without, closed]) == [problem]
    assert judged(noon, fresh, runs=[without, closed]) == []
    assert judged(noon, fresh, runs=[with_key, opened]) == []
    # Nothing is encrypted any more.
    assert judged(noon, fresh, runs=[with_key, ran("2026-11-22T07:00", 0, "verify")]) == []


def test_where_no_daemon_ran_an_empty_target_counts_from_the_first_run_or_from_when_health_was_first_asked(
    tmp_path: Path,
) -> None:
    (tmp_path / "backups").mkdir()
    job = job_of(tmp_path)
    assert problems(job) == []
    made = tmp_path / "state" / "kimai.since.began"
    for days, red in ((1, False), (3, True)):
        os.utime(made, ((NOW - timedelta(days=days)).timestamp(),) * 2)
        assert bool(problems(job_of(tmp_path))) is red
    os.utime(made, (NOW.timestamp(),) * 2)
    History(tmp_path / "state" / "kimai.runs").add(ran("2026-11-19T01:10", 5))
    [problem] = problems(job_of(tmp_path))
    assert "it holds no whole backup" in problem
    assert problem.endswith("ended with exit code 5: no answer")


def test_another_schedule_in_a_shell_turns_nothing_green_and_nothing_is_written_for_it(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    daemon = job_of(tmp_path).since
    daemon.plan("backup", "10 1 * * * (UTC)", NOW - timedelta(days=9), NOW - timedelta(days=9))
    daemon.saw(["local"], NOW - timedelta(days=9))
    written = (tmp_path / "state" / "kimai.since.json").read_bytes()
    assert len(problems(job_of(tmp_path))) == 1
    hourly = Plan("backup", Cron("0 * * * *", UTC), by_hand_counts=True)
    assert len(problems(job_of(tmp_path, plan=hourly))) == 1
    assert len(problems(job_of(tmp_path))) == 1
    assert (tmp_path / "state" / "kimai.since.json").read_bytes() == written


def test_a_broken_note_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "kimai.since.json").write_bytes(b"{")
    assert problems(job_of(tmp_path)) == []
    assert "kimai.since.json" in caplog.text


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    for name in list(os.environ):
        if name.startswith(("BACKUP_", "KIMAI_", "DATABASE_", "S3_", "RETENTION_", "DOCKER_")):
            monkeypatch.delenv(name)
    (tmp_path / "backups").mkdir()
    monkeypatch.setenv("BACKUP_INSTANCE", "kimai")
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("BACKUP_STATE_DIR", str(tmp_path / "state"))
    return CliRunner()


def test_the_command_answers_in_one_word_or_one_document(command: CliRunner) -> None:
    plain = command.invoke(cli, ["health"])
    assert (plain.exit_code, plain.stdout) == (Exit.DONE, "healthy\n")
    document = command.invoke(cli, ["health", "--json"])
    assert (document.exit_code, json.loads(document.stdout)) == (
        Exit.DONE,
        {"healthy": True, "problems": [], "notes": []},
    )


def test_wrong_settings_are_reasons_and_all_of_them(command: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETENTION_DAYS", "many")
    monkeypatch.setenv("TZ", "Europe/Nowhere")
    found = command.invoke(cli, ["health", "--json"])
    assert found.exit_code == 1
    problems = json.loads(found.stdout)["problems"]
    assert [problem.split()[0] for problem in problems] == ["TZ", "RETENTION_DAYS"]


def test_no_target_at_all_is_a_reason(command: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_DIR", "")
    found = command.invoke(cli, ["health"])
    assert found.exit_code == 1
    assert "Set BACKUP_DIR" in found.stdout
