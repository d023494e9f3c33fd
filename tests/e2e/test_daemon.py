"""`run` as a container has it: settings checked, a clear word about schedules, and an orderly end."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
    with started(tmp_path, S3_BUCKET="bucket") as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 4
        assert "S3_BUCKET" in said
