"""`run` as a container has it: settings checked, a clear word about schedules, and an orderly end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.state import State
from tests.support.cli import COMMAND

SAYS = "this version does not have the scheduler yet"


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "backups").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "BACKUP_INSTANCE": "kimai",
        "BACKUP_DIR": str(folder / "backups"),
        "BACKUP_STATE_DIR": str(folder / "state"),
        **settings,
    }
    with subprocess.Popen(
        [str(COMMAND), "run"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_waits_and_ends_at_a_signal(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with started(tmp_path) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert SAYS in line
        assert "BACKUP_SCHEDULE (10 1 * * *)" in line
        assert "docker compose exec -T backup kimai-backup backup" in line
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(number)
        assert process.wait(timeout=5) == code


def test_without_a_schedule_it_says_so(tmp_path: Path) -> None:
    with started(tmp_path, BACKUP_SCHEDULE="") as process:
        assert process.stderr is not None
        assert "no BACKUP_SCHEDULE is set" in process.stderr.readline()


def test_it_does_not_start_with_settings_that_are_wrong(tmp_path: Path) -> None:
    with started(tmp_path, RETENTION_DAYS="many", TZ="Europe/Nowhere") as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 4
        assert "RETENTION_DAYS" in said
        assert "TZ" in said


def test_it_does_not_start_with_a_part_that_is_still_to_come(tmp_path: Path) -> None:
    recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    with started(tmp_path, BACKUP_ENCRYPT_TO=recipient) as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 4
        assert "BACKUP_ENCRYPT_TO" in said


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
