"""Being told of real runs by a real listener: a night without a database, listeners that are away, a killed run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from sidecar.history import History
from sidecar.runs import KILLED, Run, Started
from sidecar.state import State
from tests.support.cli import COMMAND, Ran, Site, poll
from tests.support.listener import Listener, closed_port, listening


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def told(site: Site, listener: Listener) -> Site:
    site.extra |= {"NOTIFY_URLS": listener.notify_url, "HEARTBEAT_URL": listener.heartbeat_url, "TZ": "Europe/Berlin"}
    return site


def warnings(ran: Ran) -> list[str]:
    lines = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] == "warning"]


def runs_told(site: Site) -> list[list[str]]:
    text = (site.state / "kimai.runs" / "runs.jsonl").read_text()
    return [json.loads(line).get("told", []) for line in text.splitlines() if line]


def test_a_night_without_a_database_is_one_notice_and_one_recovery(told: Site, listener: Listener) -> None:
    told.backup("--no-prune")
    assert listener.beats == ["/start", ""]
    assert listener.notices == []
    listener.forget()

    told.port = closed_port()
    told.extra["DATABASE_URL"] = told.url
    for trigger in ("schedule", "retry", "retry", "retry"):
        ran = told.run("backup", "--trigger", trigger)
        assert ran.code == 5, ran.said
    assert listener.beats == ["/start", "/fail"] * 4
    [notice] = listener.notices
    assert notice["title"].startswith("kimai: backup failed (exit 5) (20")
    assert notice["title"].endswith((" CET)", " CEST)"))
    assert notice["type"] == "failure"
    for part in ("10, 30 and 90 minutes", str(told.port), "The log's last lines:", "ended with exit code 5"):
        assert part in notice["message"], notice
    failing = next(post for post in listener.posts if post.path.endswith("/fail"))
    assert str(told.port) in failing.text
    listener.forget()

    told.port = 0
    told.extra.pop("DATABASE_URL")
    told.backup("--trigger", "schedule")
    assert listener.beats == ["/start", ""]
    [notice] = listener.notices
    assert notice["title"].startswith("kimai: backup is well again (")
    assert "4 runs" in notice["message"]
    assert runs_told(told) == [[], ["failure"], [], [], [], ["recovery"]]
    told.backup()
    assert len(listener.notices) == 1


def test_no_secret_is_sent(told: Site, listener: Listener) -> None:
    told.extra["DATABASE_URL"] = told.url.replace(told.database, "no_such_database")
    ran = told.run("backup")
    assert ran.code == 5, ran.said
    assert len(listener.notices) == 1
    everything = "\n".join(post.text for post in listener.posts) + ran.said
    for secret in (*told.secrets, "t0ken-of-the", "pw4you"):
        assert secret not in everything


def test_those_who_are_away_are_warnings_and_no_failure(told: Site) -> None:
    told.extra["NOTIFY_URLS"] = f"json://someone:pw4you@127.0.0.1:{closed_port()}/t0ken-t0ken"
    told.extra["NOTIFY_SUCCESS"] = "yes"
    told.extra.pop("HEARTBEAT_URL")
    ran = told.run("backup")
    assert ran.code == 0, ran.said
    [warning] = warnings(ran)
    assert "NOTIFY_URLS: not told of success: json://***" in warning
    assert "pw4you" not in ran.said
    assert "t0ken" not in ran.said
    told.extra.pop("NOTIFY_URLS")
    told.extra.pop("NOTIFY_SUCCESS")
    ran = told.run("backup", HEARTBEAT_URL=f"http://127.0.0.1:{closed_port()}/t0ken-t0ken")
    assert ran.code == 0, ran.said
    assert ["start" in warning for warning in warnings(ran)] == [True, False]
    assert "t0ken" not in ran.said


def test_debug_lines_of_libraries_hold_no_secret_either(told: Site, listener: Listener) -> None:
    ran = told.run("backup", LOG_LEVEL="debug", NOTIFY_SUCCESS="yes")
    assert ran.code == 0, ran.said
    assert len(listener.notices) == 1
    assert "pw4you" not in ran.said
    assert "t0ken-of-the" not in ran.said


def test_one_that_never_answers_is_left_at_once_when_told_to_end(told: Site, listener: Listener) -> None:
    listener.hangs = True
    told.extra.pop("HEARTBEAT_URL")
    process = told.start("backup", NOTIFY_SUCCESS="yes", NOTIFY_URLS=f"{listener.notify_url}?rto=60")
    poll(lambda: listener.posts, "a notice was sent")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ran = told.ended(process)
    assert time.monotonic() - began < 5
    # The backup was whole before anybody was told of it.
    assert ran.code == 0, ran.said
    assert len(told.ids()) == 1
    assert any("interrupted by SIGTERM" in warning for warning in warnings(ran))
    assert runs_told(told) == [[]]


def test_a_killed_run_is_told_of_by_the_hidden_command(told: Site, listener: Listener) -> None:
    now = datetime.now(UTC)
    killed = Run(
        id="r1",
        command="backup",
        trigger="schedule",
        started_at=now,
        finished_at=now,
        exit_code=KILLED,
        summary="backup was killed",
    )
    told.state.mkdir()
    History(told.state / "kimai.runs").add(killed)
    for _ in range(2):
        ran = told.run("tell", "r1")
        assert (ran.code, ran.out) == (0, ""), ran.said
    assert len(listener.notices) == 1
    assert "was killed" in listener.titles[0]
    assert told.run("tell", "r2").code == 2
    told.backup()
    assert "is well again" in listener.titles[1]


def test_without_a_daemon_the_next_run_tells_of_the_killed_one(told: Site, listener: Listener) -> None:
    listener.hangs = True
    process = told.start("backup", HEARTBEAT_URL=listener.heartbeat_url)
    poll(lambda: listener.beats, "it has begun")
    process.kill()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    listener.released.set()
    listener.hangs = False
    listener.forget()
    ran = told.run("backup")
    assert ran.code == 0, ran.said
    assert [title.partition(" (")[0] for title in listener.titles] == [
        "kimai: backup was killed",
        "kimai: backup is well again",
    ]
    assert listener.beats == ["/fail", "/start", ""]


@pytest.mark.parametrize("trigger", ["hand", "schedule"])
def test_a_run_that_meets_the_lock_is_none_for_the_watchdog(told: Site, listener: Listener, trigger: str) -> None:
    with State(told.state, "kimai", told.root).lock("restore"):
        ran = told.run("backup", "--trigger", trigger)
    assert ran.code == 9, ran.said
    assert listener.posts == []


def test_a_setting_that_breaks_after_the_start_is_told(told: Site, listener: Listener) -> None:
    key = told.folder / "key"
    key.write_text("AKIA-of-a-test")
    settings = {
        "S3_BUCKET": "backups",
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}",
        "S3_ACCESS_KEY_ID_FILE": str(key),
        "S3_SECRET_ACCESS_KEY": "a-secret-of-a-test",
        "BACKUP_INSTANCE": "office",
    }
    history = History(told.state / "office.runs")
    at = datetime.now(UTC) - timedelta(days=3)
    history.add(Run(id="before", command="backup", started_at=at, finished_at=at, exit_code=0, summary=""))
    by_hand = Started(id="by-hand", command="backup", trigger="hand", started_at=datetime.now(UTC))
    log = told.folder / "daemon.log"
    with log.open("wb") as file:
        # The missed run waits for this one.
        with history.under_way(by_hand):
            process = subprocess.Popen(
                [str(COMMAND), "run"], env=told.environment | settings, stdout=file, stderr=file, cwd=told.folder
            )
            try:
                poll(lambda: "waits until backup has ended" in log.read_text(), "the daemon is up")
            except AssertionError:
                process.kill()
                raise
            key.unlink()
        try:
            poll(lambda: listener.notices, "somebody was told")
            poll(lambda: history.runs()[-1].told, "that is remembered")
        finally:
            process.terminate()
            assert process.wait(15) == 0
    assert listener.titles[0].startswith("office: backup failed (exit 4) (")
    assert "a setting is wrong: see the log, or `kimai-backup config`" in listener.notices[0]["message"]
    assert listener.beats == ["/fail"]
    assert [(run.exit_code, run.told) for run in history.runs()] == [(0, []), (4, ["failure"])]


def test_one_that_a_full_state_folder_does_not_remember_is_told_all_the_same(told: Site, listener: Listener) -> None:
    now = datetime.now(UTC)
    lost = Run(id="r1", command="backup", started_at=now, finished_at=now, exit_code=KILLED, summary="killed")
    told.extra["BACKUP_STATE_DIR"] = "/proc/self/state"
    ran = told.run("tell", "r1", "--record", msgspec.json.encode(lost).decode())
    assert ran.code == 0, ran.said
    assert len(listener.notices) == 1
    assert listener.beats == ["/fail"]
    [warning] = warnings(ran)
    assert "BACKUP_STATE_DIR: can't keep a record of runs" in warning


def test_the_doctor_sends_a_test_and_tells_of_a_url_that_is_none(told: Site, listener: Listener) -> None:
    found = {each["what"]: each for each in told.run("doctor", "--json").json()}
    assert found["notifier json://***"]["good"]
    assert listener.posts == []
    ran = told.run("doctor", "--notify")
    assert ran.code == 0, ran.said
    assert "took a test notice" in ran.out
    assert len(listener.notices) == 1
    ran = told.run("doctor", NOTIFY_URLS="nosuchservice://t0ken-t0ken")
    assert ran.code == 4, ran.said
    assert "nosuchservice://***" in ran.out
    assert "t0ken" not in ran.said


def test_who_has_nothing_to_tell_loads_nothing_for_it() -> None:
    program = "import sys, sidecar.cli, sidecar.telling; print({'apprise', 'urllib.request'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
