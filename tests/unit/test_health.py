"""Health tells each reason why a container is not healthy, and is not in the way of what runs."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.cli import cli
from sidecar.errors import Exit
from sidecar.health import Job, examine
from sidecar.state import RestoreNote, State
from sidecar.storage.local import LocalStorage


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "backups").mkdir()
    (tmp_path / "kimai").mkdir()
    return Job([LocalStorage(tmp_path / "backups")], State(tmp_path / "state", "kimai", tmp_path / "kimai"))


def note(phase: str = "under way") -> RestoreNote:
    found = RestoreNote(backup="kimai_kimai_2.66.0_20261122T011000Z", database="kimai", run_id="1", root="/opt/kimai")
    found.phase = "settled" if phase == "settled" else "under way"
    return found


def test_it_is_healthy_where_nothing_is_wrong(job: Job, tmp_path: Path) -> None:
    assert examine(job) == []
    assert list((tmp_path / "backups").iterdir()) == []
    assert list((tmp_path / "state").iterdir()) == []


def test_a_target_that_is_gone_is_named(job: Job, tmp_path: Path) -> None:
    (tmp_path / "backups").rmdir()
    [problem] = examine(job)
    assert problem.startswith("target local: ")
    assert str(tmp_path / "backups") in problem


def test_every_problem_is_told_not_just_the_first(job: Job, tmp_path: Path) -> None:
    (tmp_path / "backups").rmdir()
    (tmp_path / "state").write_text("in the way")
    assert len(examine(job)) == 2


def test_a_state_folder_that_takes_no_file_is_named(job: Job, tmp_path: Path) -> None:
    # Not even root may make a file there.
    broken = Job(job.storages, State(Path("/proc/self"), "kimai", tmp_path / "kimai"))
    [problem] = examine(broken)
    assert "BACKUP_STATE_DIR /proc/self" in problem


def test_a_killed_restore_is_pending(job: Job) -> None:
    job.state.write_restore_note(note())
    [problem] = examine(job)
    assert "was killed" in problem
    assert "kimai-backup restore kimai_kimai_2.66.0_20261122T011000Z" in problem


def test_a_restore_that_runs_is_not_a_killed_one(job: Job) -> None:
    with job.state.lock("restore"):
        job.state.write_restore_note(note())
        assert examine(job) == []
    assert examine(job) != []


def test_a_restore_that_only_lacks_its_tidying_up_is_no_problem(job: Job) -> None:
    job.state.write_restore_note(note("settled"))
    assert examine(job) == []


def test_a_backup_that_runs_is_not_in_the_way(job: Job) -> None:
    with job.state.lock("backup"):
        assert examine(job) == []


def test_a_journal_that_cannot_be_read_is_a_problem(job: Job) -> None:
    job.state.journal.write_bytes(b"{")
    [problem] = examine(job)
    assert str(job.state.journal) in problem


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
    assert (document.exit_code, json.loads(document.stdout)) == (Exit.DONE, {"healthy": True, "problems": []})


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
