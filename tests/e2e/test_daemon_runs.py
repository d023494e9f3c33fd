"""The daemon as a process, with a Kimai, a database that may be away, and signals at the worst moment."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.history import History
from sidecar.runs import Run
from tests.support.cli import COMMAND, Site, poll
from tests.support.line import IN_THE_DUMP
from tests.support.proxy import Proxy


def history(site: Site) -> History:
    return History(site.state / "kimai.runs")


def ran_days_ago(site: Site, days: int) -> None:
    """A good run of before: what was due since is missed."""
    at = datetime.now(UTC) - timedelta(days=days)
    run = Run(id=f"{at:%Y%m%dT%H%M%S}-000000", command="backup", started_at=at, finished_at=at, exit_code=0, summary="")
    run.trigger = "schedule"
    history(site).add(run)


def newest(site: Site) -> Run | None:
    """The newest run but the one of before."""
    runs = history(site).runs()[1:]
    return runs[-1] if runs else None


class Daemon(NamedTuple):
    """`run` as a process; its log goes to a file, as a run that outlives it would keep a pipe open."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def stop(self) -> str:
        """What it logged; it ended in order, and in time for Docker."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(15) == 0, self.log.read_text()
        assert time.monotonic() - began < 10
        return self.log.read_text()


@contextmanager
def daemon(site: Site, **settings: str) -> Iterator[Daemon]:
    path = site.folder / f"daemon-{time.monotonic_ns()}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [str(COMMAND), "run"], env=site.environment | settings, stdout=log, stderr=log, cwd=site.folder
        )
    try:
        yield Daemon(process, path)
    finally:
        process.kill()
        process.wait(10)


def child_of(process: Daemon, command: str) -> int | None:
    for task in Path("/proc").glob("[0-9]*"):
        try:
            parent = task.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1]
            arguments = task.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == str(process.process.pid) and command.encode() in arguments:
            return int(task.name)
    return None


def test_a_missed_run_is_made_up_for_at_the_start_and_only_once(site: Site) -> None:
    ran_days_ago(site, 3)
    with daemon(site) as process:
        run = poll(lambda: newest(site), "it ran")
        said = process.stop()
    assert (run.trigger, run.exit_code, run.backup) == ("missed", 0, site.ids()[0])
    assert "backup begins (missed)" in said
    assert len(site.ids()) == 1
    with daemon(site) as process:
        poll((site.state / "kimai.look.json").exists, "it looked")
        time.sleep(1)
        assert "backup begins" not in process.stop()
    assert len(history(site).runs()) == 2
    assert site.run("health").out == "healthy\n"
    looked = json.loads((site.state / "kimai.look.json").read_text())
    assert [kept["id"] for kept in looked["shelves"][0]["backups"]] == site.ids()


@pytest.mark.slow
def test_its_hour_comes(site: Site) -> None:
    with daemon(site, BACKUP_SCHEDULE="* * * * *", VERIFY_SCHEDULE="* * * * *") as process:
        poll(lambda: len(history(site).runs()) >= 2, "backup and verify ran", 100)
        process.stop()
    backup, verify = history(site).runs()[:2]
    assert (backup.command, backup.trigger, backup.exit_code) == ("backup", "schedule", 0)
    assert (verify.command, verify.trigger, verify.exit_code) == ("verify", "schedule", 0)
    assert backup.started_at.second < 10
    assert verify.started_at >= backup.finished_at, "one at a time"


def test_told_to_end_in_the_middle_of_a_run_it_publishes_nothing_and_makes_up_for_it(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    ran_days_ago(site, 3)
    proxy.hold_after(IN_THE_DUMP, from_server=True)
    with daemon(site) as process:
        assert proxy.held.wait(30)
        process.stop()
    assert site.shelf() == []
    run = newest(site)
    assert run is not None
    assert (run.exit_code, run.summary) == (130, "interrupted by SIGTERM")
    proxy.release()
    with daemon(site) as process:
        run = poll(lambda: (found := newest(site)) and found.exit_code == 0 and found, "it made up for it")
        process.stop()
    assert run.trigger == "missed"
    assert len(site.ids()) == 1


def test_a_child_that_is_killed_is_seen_and_tried_again_later(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    ran_days_ago(site, 3)
    proxy.hold_after(IN_THE_DUMP, from_server=True)
    with daemon(site) as process:
        assert proxy.held.wait(30)
        child = child_of(process, "backup")
        assert child is not None
        os.kill(child, signal.SIGKILL)
        run = poll(lambda: newest(site), "its end was recorded")
        time.sleep(1.5)
        said = process.stop()
    assert (run.exit_code, run.trigger) == (137, "missed")
    assert "backup was killed" in said
    assert "backup runs again next at" in said
    assert len(history(site).runs()) == 2
    proxy.release()


def test_after_daemon_and_run_were_killed_the_next_start_makes_up_for_it(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    ran_days_ago(site, 3)
    proxy.hold_after(IN_THE_DUMP, from_server=True)
    with daemon(site) as process:
        assert proxy.held.wait(30)
        child = child_of(process, "backup")
        assert child is not None
        process.process.kill()
        os.kill(child, signal.SIGKILL)
    proxy.release()
    poll(lambda: not Path(f"/proc/{child}").exists() or not history(site).running(), "the child is gone")
    with daemon(site) as process:
        poll(lambda: (found := newest(site)) and found.exit_code == 0, "it made up for it")
        said = process.stop()
    assert [run.exit_code for run in history(site).runs()] == [0, 137, 0]
    assert "backup was killed" in said
    assert len(site.ids()) == 1


def test_a_run_that_outlived_its_daemon_is_not_doubled(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    ran_days_ago(site, 3)
    proxy.hold_after(IN_THE_DUMP, from_server=True)
    with daemon(site) as process:
        assert proxy.held.wait(30)
        process.process.kill()
    with daemon(site) as process:
        time.sleep(2)
        assert len(history(site).runs()) == 1
        proxy.release()
        poll(lambda: newest(site), "the first one's run ended")
        said = process.stop()
    assert "waits until backup has ended" in said
    assert [run.exit_code for run in history(site).runs()] == [0, 0]
    assert len(site.ids()) == 1


def test_a_night_without_its_database_turns_health_red_and_a_good_backup_green(site: Site) -> None:
    ran_days_ago(site, 6)
    old = site.backup()
    long_ago = f"{datetime.now(UTC) - timedelta(days=5):%Y%m%dT%H%M%SZ}"
    for path in site.backups.iterdir():
        path.rename(path.with_name(path.name.replace(old.rsplit("_", 1)[1], long_ago)))
    # It was made today, and is to count as made then.
    (site.state / "kimai.runs" / "runs.jsonl").unlink()
    ran_days_ago(site, 6)
    site.server.run(f"ALTER USER '{site.user}'@'%' IDENTIFIED BY 'another'")
    with daemon(site) as process:
        run = poll(lambda: newest(site), "it tried")
        time.sleep(1)
        said = process.stop()
    assert (run.trigger, run.exit_code) == ("missed", 5)
    assert "backup runs again next at" in said
    for command in (["health"], ["health", "--recent"]):
        ran = site.run(*command)
        assert ran.code == 1
        [problem] = ran.out.splitlines()
        assert problem.startswith("target local: its newest whole backup is of ")
        assert f"ended with exit code 5: {run.summary}" in problem
    site.server.run(f"ALTER USER '{site.user}'@'%' IDENTIFIED BY '{site.password}'")
    site.backup()
    assert site.run("health").out == "healthy\n"


@pytest.mark.slow
def test_settings_that_went_wrong_since_the_start_are_recorded_and_tried_again(site: Site, tmp_path: Path) -> None:
    days = tmp_path / "days"
    days.write_text("60")
    with daemon(site, RETENTION_DAYS_FILE=str(days), BACKUP_SCHEDULE="* * * * *") as process:
        poll((site.state / "kimai.look.json").exists, "it has read its settings, and looked")
        days.unlink()
        run = poll(lambda: history(site).runs() and history(site).runs()[-1], "it tried", 90)
        process.stop()
    assert run.exit_code == 4
    assert "left no record; a setting is wrong" in run.summary
