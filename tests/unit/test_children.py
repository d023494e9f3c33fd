"""Children of the daemon: started as commands, their output kept, and ended in the end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.children import ended_by, start


def test_a_command_is_run_and_what_it_prints_is_kept() -> None:
    child = start(["--version"], keep_output=True)
    assert ended_by(time.monotonic() + 30, child, time.monotonic)
    assert child.poll() == 0
    assert child.output().decode() == f"kimai-backup {__version__}\n"


def test_what_is_not_kept_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    child = start(["--version"], keep_output=False)
    assert ended_by(time.monotonic() + 30, child, time.monotonic)
    assert (child.poll(), child.output()) == (0, b"")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["verify", "--run-id", "1", "--trigger", "schedule"], ["look"], ["run"]])
def test_a_wrong_setting_is_a_json_line_where_it_runs_by_itself(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETENTION_DAYS", "many")
    monkeypatch.setenv("TZ", "Europe/Nowhere")
    assert ended(arguments) == 4
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {(line["level"], line["message"].split()[0]) for line in lines} == {
        ("error", "TZ"),
        ("error", "RETENTION_DAYS"),
    }
    monkeypatch.setenv("LOG_FORMAT", "text")
    assert ended(arguments) == 4
    assert all(line.startswith("kimai-backup: ") for line in capfd.readouterr().err.splitlines())


def test_a_wrong_setting_is_plain_where_it_is_run_by_hand(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETENTION_DAYS", "many")
    assert ended(["verify"]) == 4
    assert capfd.readouterr().err.startswith("kimai-backup: RETENTION_DAYS")


def ended(arguments: list[str]) -> int | None:
    child = start(arguments, keep_output=False)
    assert ended_by(time.monotonic() + 30, child, time.monotonic)
    return child.poll()


def test_what_lies_in_the_folder_of_the_daemon_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sidecar").mkdir()
    (tmp_path / "sidecar" / "__init__.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    child = start(["--version"], keep_output=True)
    assert ended_by(time.monotonic() + 30, child, time.monotonic)
    assert (child.poll(), child.output()[:12]) == (0, b"kimai-backup")


class Stubborn:
    """A process that SIGTERM does not end."""

    def __init__(self) -> None:
        ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        script = ignoring + "print('so', flush=True); time.sleep(60)"
        self.process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"so\n"
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    def end(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def output(self) -> bytes:
        return b""


def test_one_that_does_not_end_in_time_is_killed() -> None:
    child = Stubborn()
    with child.process:
        child.end()
        began = time.monotonic()
        assert not ended_by(began + 0.3, child, time.monotonic)
        assert 0.3 <= time.monotonic() - began < 5
        assert child.poll() == -9
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
