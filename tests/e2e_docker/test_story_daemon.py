"""The daemon in its container: its hour comes, `docker stop` ends it, it makes up for it, and its health tells."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.cli import poll
from tests.support.story import DATABASES, Story, story

pytestmark = pytest.mark.timeout(900)

TIMESHEETS = 200_000
"""So many that a backup by one connection lasts seconds."""

MEMORY = 90
"""MiB that the idle daemon may take."""

_USED = """
import pathlib, sys
for task in pathlib.Path('/proc').glob('[0-9]*'):
    try:
        words = task.joinpath('cmdline').read_bytes().split(b'\\0')
        state = task.joinpath('stat').read_text().rsplit(')', 1)[1].split()
        memory = task.joinpath('status').read_text().split('VmRSS:')[1].split()[0]
    except (OSError, IndexError):
        continue
    if words[-2:] == [b'run', b''] and b'tini' not in words[0]:
        print(task.name, memory, int(state[11]) + int(state[12]))
"""
_AGE = """
import json, pathlib
path = pathlib.Path('/var/lib/kimai-backup/kimai.since.json')
known = json.loads(path.read_text())
for planned in known['schedules'].values():
    planned['since'] = '2020-01-01T00:00:00Z'
path.write_text(json.dumps(known))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A Kimai with many rows, whose backups take some seconds. One flavour will do: the daemon asks no database."""
    flavour = "mariadb"
    with story(tmp_path_factory.mktemp(flavour), flavour) as found:
        found.up()
        found.database.check_who_answers(*DATABASES[flavour][1])
        found.project.stop("kimai")
        found.empty_database()
        found.make_rows(TIMESHEETS)
        found.project.start("kimai")
        found.project.wait("kimai", "healthy")
        yield found


def schedule(found: Story, expression: str) -> None:
    """Make `backup` anew with this schedule."""
    settings = f'{{BACKUP_SCHEDULE: "{expression}", DATABASE_CONNECTIONS: "1"}}'
    found.vary("schedule", f"services:\n  backup: {{environment: {settings}}}\n")
    found.project.up("backup")


def runs(found: Story) -> list[dict[str, Any]]:
    """The history in the state folder."""
    ran = found.project.exec("backup", "sh", "-c", "cat /var/lib/kimai-backup/kimai.runs/runs.jsonl 2>/dev/null || :")
    return [json.loads(line) for line in ran.out.splitlines() if line]


def published(found: Story) -> list[str]:
    return [name for name in found.backups() if not name.startswith(".")]


def used(found: Story) -> tuple[str, int, int]:
    """The daemon's process, its memory in KiB and its CPU time in hundredths of a second."""
    ran = found.project.exec("backup", "python3", "-c", _USED)
    assert ran.code == 0, ran.said
    [line] = ran.out.splitlines()
    process, memory, ticks = line.split()
    return process, int(memory), int(ticks)


def test_its_hour_comes_it_is_stopped_in_the_middle_and_makes_up_for_it(large: Story) -> None:
    now = datetime.now(UTC)
    # Time enough to make the container anew; the next one is an hour later.
    moment = (now + timedelta(seconds=100)).replace(second=0, microsecond=0)
    schedule(large, f"{moment.minute} * * * *")
    assert "healthy" in large.project.state("backup"), "a fresh install is healthy"
    folder = large.folder / "backups"
    poll(lambda: any(path.stat().st_size > 0 for path in folder.glob(".*.part")), "its hour came", 180)
    assert datetime.now(UTC) >= moment
    began = time.monotonic()
    large.project.stop("backup")
    assert time.monotonic() - began < 10
    state = large.project.inspect("backup")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert published(large) == []
    large.project.start("backup")
    poll(lambda: len(runs(large)) == 2, "it made up for it", 120)
    interrupted, made_up = runs(large)
    assert (interrupted["trigger"], interrupted["exit_code"]) == ("schedule", 130)
    assert (made_up["trigger"], made_up["exit_code"]) == ("missed", 0)
    assert len(published(large)) == 2
    assert re.search(r"backup runs next at \d{4}-\d\d-\d\d \d\d:\d\d UTC", large.project.logs("backup"))


def test_after_a_run_it_takes_little(large: Story, capsys: pytest.CaptureFixture[str]) -> None:
    process, _, before = used(large)
    began = time.monotonic()
    time.sleep(60)
    again, memory, after = used(large)
    seconds = time.monotonic() - began
    assert process == again
    with capsys.disabled():
        print(f"\nidle daemon: {memory / 1024:.1f} MiB, {(after - before) / 100:.2f} s of CPU in {seconds:.0f} s")
    assert memory < MEMORY * 1024
    assert (after - before) / 100 < seconds / 50


def test_an_old_backup_turns_it_unhealthy_and_a_new_one_healthy(large: Story) -> None:
    five_hours_ago = f"{datetime.now(UTC) - timedelta(hours=5):%Y%m%dT%H%M%SZ}"
    for path in (large.folder / "backups").glob("kimai_*"):
        path.rename(path.with_name(re.sub(r"[0-9]{8}T[0-9]{6}Z", five_hours_ago, path.name)))
    assert large.project.exec("backup", "python3", "-c", _AGE).code == 0
    # It remembers what it read of both.
    large.project.compose("restart", "backup")
    # Two minutes of patience with a start, and then three checks.
    large.project.wait("backup", "unhealthy", 300)
    [problem] = large.command("health").out.splitlines()
    assert problem.startswith("target local: its newest whole backup is of ")
    assert "there should be one since" in problem
    checks = large.project.inspect("backup")["State"]["Health"]["Log"]
    assert "its newest whole backup is of" in checks[-1]["Output"]
    large.backup()
    large.project.wait("backup", "healthy")
    assert large.command("health").out == "healthy\n"
