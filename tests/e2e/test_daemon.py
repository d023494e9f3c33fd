"""`run` as a container has it: settings checked, runs by its schedule, and an orderly end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.state import State
from tests.support.cli import COMMAND, poll
from tests.support.servers import free_port


def answer(url: str) -> str:
    """What is answered; a 503 of /healthz is an answer, too."""
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            return str(found.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "backups").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "BACKUP_INSTANCE": "kimai",
        "BACKUP_DIR": str(folder / "backups"),
        "BACKUP_STATE_DIR": str(folder / "state"),
        # Several tests at once would meet at one port.
        "HTTP_LISTEN": "",
        **settings,
    }
    with subprocess.Popen(
        [str(COMMAND), "run"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: "subprocess.Popen[str]", word: str) -> str:
    """The first line that says it."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"it never said: {word}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_comes_next_and_ends_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, TZ="Europe/Berlin") as process:
        line = until(process, "backup runs next at ")
        assert re.search(r"01:10 CES?T \(10 1 \* \* \*\)", line)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(number)
        assert process.wait(timeout=10) == 0


def test_a_hang_up_does_not_end_it(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        until(process, "backup runs next at ")
        process.send_signal(signal.SIGHUP)
        until(process, "SIGHUP does nothing")
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_without_a_schedule_it_says_so(tmp_path: Path) -> None:
    with started(tmp_path, BACKUP_SCHEDULE="") as process:
        until(process, "nothing runs by itself")


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        until(process, "backup runs next at ")
        environment = {"PATH": os.environ["PATH"], "BACKUP_INSTANCE": "kimai", "BACKUP_DIR": str(tmp_path / "backups")}
        second = subprocess.run(
            [str(COMMAND), "run"],
            env=environment | {"BACKUP_STATE_DIR": str(tmp_path / "state"), "HTTP_LISTEN": ""},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 9
        assert f"run (process {process.pid} on" in second.stderr


def test_it_stays_small_whatever_its_children_need(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    script = (
        "import sys\nfrom sidecar.cli import cli\ncli(['run'], standalone_mode=False)\n"
        "heavy = ('boto3', 'docker', 'pymysql', 'apprise', 'rich', 'requests')\n"
        "print(*(name for name in heavy if name in sys.modules))\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "BACKUP_INSTANCE": "kimai",
        "BACKUP_DIR": str(tmp_path / "backups"),
        "BACKUP_STATE_DIR": str(tmp_path / "state"),
        "S3_BUCKET": "kimai",
        "S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "S3_REGION": "eu-central-1",
        "S3_ACCESS_KEY_ID": "key",
        "S3_SECRET_ACCESS_KEY": "very-secret-key",
        "RETRY_DEADLINE": "5",
        "HTTP_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(process, "backup runs next at ")
        poll((tmp_path / "state/kimai.look.json").exists, "the targets were looked at")
        for path, word in (("/", "kimai"), ("/metrics", "kimai_backup_build_info"), ("/healthz", "")):
            assert word in answer(f"http://{environment['HTTP_LISTEN']}{path}")
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == "\n"
    looked = json.loads((tmp_path / "state/kimai.look.json").read_text())
    assert [shelf["target"] for shelf in looked["shelves"]] == ["local", "s3"]
    assert looked["shelves"][1]["problem"]


def test_it_does_not_start_with_settings_that_are_wrong(tmp_path: Path) -> None:
    with started(tmp_path, RETENTION_DAYS="many", TZ="Europe/Nowhere") as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 4
        assert "RETENTION_DAYS" in said
        assert "TZ" in said


def test_it_does_not_start_with_a_recipient_that_was_mistyped(tmp_path: Path) -> None:
    recipient = "age1ql3y7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    with started(tmp_path, BACKUP_ENCRYPT_TO=recipient) as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 4
        assert "BACKUP_ENCRYPT_TO" in said
        assert "its checksum is wrong" in said


def test_each_schedule_is_told(tmp_path: Path) -> None:
    url = "mysql://a:b@127.0.0.1/drill"
    schedules = {"DRILL_SCHEDULE": "0 5 * * 0", "VERIFY_SCHEDULE": "0 4 * * 0"}
    with started(tmp_path, DRILL_DATABASE_URL=url, **schedules) as process:
        until(process, "backup runs next at ")
        until(process, "verify runs next at ")
        assert "05:00 UTC (0 5 * * 0)" in until(process, "drill runs next at ")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with started(tmp_path, HTTP_LISTEN=listen) as process:
            _, said = process.communicate(timeout=20)
            assert process.returncode == 4
            assert f"HTTP_LISTEN {listen}: can't listen there" in said


def test_a_run_that_would_not_outlive_the_container_is_told_to_end(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "kimai", tmp_path)
    assert state.end_run(1) is None, "nothing runs, and nothing was there"
    script = (
        "import sys, time; from pathlib import Path; from sidecar.state import State\n"
        "with State(Path(sys.argv[1]), 'kimai', Path(sys.argv[2])).lock('backup'):\n"
        "    print('locked', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "state"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        ended = state.end_run(10)
        assert ended is not None
        assert f"backup (process {holder.pid} on {os.uname().nodename}" in ended
        assert holder.wait(5) == -signal.SIGTERM
    assert state.end_run(1) is None


def test_a_run_of_another_container_is_left_alone(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "kimai", tmp_path)
    with state.lock("restore"):
        lock = tmp_path / "state/kimai.lock"
        lock.write_text(lock.read_text().replace(os.uname().nodename, "0123456789ab"))
        assert state.end_run(1) is None
