"""The report that a restore leaves: however it ends, as much as is known, bounded, and without a secret."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import Damaged, Interrupted, NoSuchBackup, Refused, Unreachable, UsageError
from sidecar.report import log as logs
from sidecar.restore_job import Report
from sidecar.restore_report import KEEP, reported
from sidecar.state import State


@pytest.fixture
def job(tmp_path: Path) -> Any:
    state = State(tmp_path / "state", "kimai", tmp_path)
    kimai = type("Kimai", (), {"root": Path("/opt/kimai")})
    return type("Job", (), {"state": state, "kimai": kimai, "redacted_url": "mysql://kimai:***@db/kimai"})


def restore(job: Any, work: Callable[[Report], None], **asked: Any) -> None:
    with job.state.lock("restore"), reported(job, "latest", dry_run=False, **asked) as report:
        work(report)


def read(job: Any) -> list[dict[str, Any]]:
    folder = job.state.reports
    return [json.loads(path.read_bytes()) for path in sorted(folder.iterdir())] if folder.is_dir() else []


def work(report: Report) -> None:
    report.backup = "kimai_kimai_2.66.0_20261122T011000Z"
    report.check("it is whole")
    report.note("a plugin differs")
    report.step("it is loaded")


def raising(error: BaseException) -> Callable[[Report], None]:
    def failing(report: Report) -> None:
        work(report)
        raise error

    return failing


def test_what_was_asked_checked_done_and_found(job: Any) -> None:
    restore(job, work, only=None, upgrade=True)
    (said,) = read(job)
    wanted = {
        "asked": {"reference": "latest", "upgrade": True},
        "backup": "kimai_kimai_2.66.0_20261122T011000Z",
        "kimai": "/opt/kimai",
        "database": "mysql://kimai:***@db/kimai",
        "outcome": "restored",
        "exit_code": 0,
        "reason": None,
        "journal": None,
        "checked": ["it is whole"],
        "done": ["it is loaded"],
        "found": ["a plugin differs"],
    }
    assert wanted.items() <= said.items()
    assert said["started_at"] <= said["finished_at"]
    assert any("a plugin differs" in line for line in said["log"])


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (Refused("another version", mend="Install it."), "refused", 8),
        (Damaged("a byte"), "failed", 7),
        (Unreachable("no answer"), "failed", 5),
        (Interrupted("by SIGTERM"), "interrupted", 130),
        (KeyError("x"), "failed", 1),
    ],
)
def test_one_that_fails_leaves_its_reason(job: Any, error: Exception, outcome: str, code: int) -> None:
    with pytest.raises(type(error)):
        restore(job, raising(error))
    (said,) = read(job)
    assert (said["outcome"], said["exit_code"]) == (outcome, code)
    assert str(error).strip("'") in said["reason"]
    assert said["checked"] == ["it is whole"]


@pytest.mark.parametrize("error", [UsageError("which"), NoSuchBackup("none")])
def test_what_names_no_backup_is_no_restore(job: Any, error: Exception) -> None:
    with pytest.raises(type(error)):
        restore(job, raising(error))
    assert read(job) == []


def test_a_dry_run_leaves_nothing(job: Any) -> None:
    with reported(job, "latest", dry_run=True) as report:
        work(report)
    assert read(job) == []


def test_a_kill_leaves_how_far_it_came(job: Any) -> None:
    def look(report: Report) -> None:
        assert [each["outcome"] for each in read(job)] == ["under way"]
        work(report)
        assert read(job)[0]["done"] == ["it is loaded"]

    restore(job, look)


def test_what_was_not_all_taken_back_is_named(job: Any) -> None:
    def leave(report: Report) -> None:
        job.state.journal.write_text("{}")
        raise Unreachable("the database is gone")

    with pytest.raises(Unreachable):
        restore(job, leave)
    assert read(job)[0]["journal"] == str(job.state.journal)


def test_only_the_newest_are_kept_and_two_of_a_second_are_two(job: Any) -> None:
    folder = job.state.reports
    folder.mkdir(parents=True)
    for number in range(KEEP + 5):
        (folder / f"20200101T{number:06}Z.json").write_text('{"outcome": "restored"}')
    (folder / "20200101T000000Z.part").write_text("cut")
    restore(job, work)
    restore(job, work)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == KEEP
    assert [name[:4] for name in names].count("2020") == KEEP - 2
    assert not [name for name in names if name.endswith(".part")]


def test_a_name_that_is_not_utf_8_is_spelt_out(job: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is not in the backup and stays is named as the file system has it."""
    # Whoever runs tests side by side can't send such a line from one process to the other.
    caplog.set_level(logging.CRITICAL, logger="sidecar")

    def strange(report: Report) -> None:
        report.backup = "caf\udce9.zip"
        report.note("var/data/caf\udce9 is not in the backup and stays as it is")
        raise Refused("caf\udce9")

    with pytest.raises(Refused):
        restore(job, strange)
    (said,) = read(job)
    assert said["found"] == ["var/data/caf\\udce9 is not in the backup and stays as it is"]
    assert (said["backup"], said["reason"]) == ("caf\\udce9.zip", "caf\\udce9")


def test_no_secret_is_in_it(job: Any) -> None:
    logs.hide(["hunter2-secret"])

    def talkative(report: Report) -> None:
        report.check("checked hunter2-secret")
        report.note("noted hunter2-secret")
        raise Unreachable("DSN with hunter2-secret")

    with pytest.raises(Unreachable):
        restore(job, talkative)
    (path,) = job.state.reports.iterdir()
    assert b"hunter2" not in path.read_bytes()
    assert path.read_bytes().count(b"***") >= 3


def test_a_folder_that_can_not_be_written_to_ends_no_restore(job: Any, caplog: pytest.LogCaptureFixture) -> None:
    job.state.reports.parent.mkdir(exist_ok=True)
    job.state.reports.write_text("a file in its place")
    restore(job, work)
    assert caplog.text.count("the report of this restore") >= 1
    assert "can't be written" in caplog.text
    assert job.state.reports.read_text() == "a file in its place"
    assert os.listdir(job.state.reports.parent)  # noqa: PTH208
