"""SIGTERM and SIGKILL, in the middle of a backup and of a restore of a large database, in Docker."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.support import docker as images
from tests.support.cli import poll
from tests.support.killing import PROGRAM
from tests.support.story import DATABASES, SECRETS, Story, differences, end_by, story

pytestmark = pytest.mark.timeout(900)

TIMESHEETS = 200_000
"""So many that a backup by one connection, and the load of a restore, last seconds."""

SLOW = ("--env", "DATABASE_CONNECTIONS=1")

GRACE = 10
"""Seconds in which a run must end by itself."""


class Large(NamedTuple):
    """A Kimai with many rows, and what was so at the beginning."""

    story: Story
    checksums: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def large(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    with story(tmp_path_factory.mktemp(flavour), flavour) as found:
        found.up()
        found.database.check_who_answers(*DATABASES[flavour][1])
        found.project.stop("kimai")
        found.empty_database()
        found.make_rows(TIMESHEETS)
        found.project.start("kimai")
        found.project.wait("kimai", "healthy")
        yield Large(found, found.database.checksums())


@contextmanager
def started(found: Story, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A command of Compose under way; ended with the test."""
    running = found.project.start_command(*arguments)
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=30)


def said_at_the_end(running: "subprocess.Popen[bytes]", deadline: float) -> str:
    out, _ = running.communicate(timeout=deadline)
    return out.decode(errors="replace")


def is_writing(found: Story) -> Callable[[], bool]:
    """Whether an archive has begun to grow."""
    folder = found.folder / "backups"
    return lambda: any(path.stat().st_size > 0 for path in folder.glob(".*.part"))


def begin_restore(found: Story, dropped: bytes = b"just installed are dropped") -> str:
    """Wait until the one-off container has stopped Kimai, has `dropped` what is there, and loads; its ID."""
    one_off: str = poll(found.one_offs, "the one-off container is there")[0]

    def loads() -> bool:
        logs = subprocess.run(["docker", "logs", one_off], capture_output=True, timeout=30, check=False)
        return dropped in logs.stderr

    poll(loads, "the restore loads")
    assert "exited" in found.project.state("kimai")
    assert not [secret for secret in SECRETS if secret in images.docker("inspect", one_off)]
    return one_off


def killed_while_it_loads(found: Story, *arguments: str, dropped: bytes) -> str:
    """Kill a restore's container; no backup is made then, and health is red. Why the backup was refused."""
    with started(found, "run", "--rm", "--no-TTY", "restore", *arguments) as running:
        images.docker("kill", begin_restore(found, dropped))
        said_at_the_end(running, 30)
    assert running.returncode == 137
    refused = found.command("backup")
    assert refused.code == 8, refused.said
    assert found.command("health").code != 0
    return refused.errors[0]


def kill_restore_at(found: Story, module: str, function: str, *arguments: str) -> None:
    """Run a restore that is killed as it calls that function (`killing`)."""
    python = 'exec "$(head -n 1 "$(command -v kimai-backup)" | cut -c 3-)" -c "$0" "$@"'
    dying = [PROGRAM, module, function, "1", "before", "", str(int(signal.SIGKILL)), "restore", *arguments]
    # A process that is a container's first can't kill itself.
    entry = ("--entrypoint", "tini", "restore", "--", "sh", "-c", python, *dying)
    with started(found, "run", "--rm", "--no-TTY", *entry) as running:
        said = said_at_the_end(running, 240)
    assert running.returncode == 137, said


# ── Backups ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_that_is_told_to_end_leaves_nothing(large: Large) -> None:
    found = large.story
    before = found.backups()
    with started(found, "run", "--rm", "--no-TTY", "--no-deps", *SLOW, "backup", "backup") as running:
        poll(is_writing(found), "the archive grows")
        [one_off] = found.one_offs()
        began = time.monotonic()
        images.docker("kill", "--signal", "TERM", one_off)
        said = said_at_the_end(running, GRACE)
        assert time.monotonic() - began < GRACE
    assert running.returncode == 130, said
    assert "interrupted by SIGTERM" in said
    assert found.backups() == before


def test_the_daemon_ends_in_time_and_publishes_nothing_half_done(large: Large) -> None:
    found = large.story
    published = [name for name in found.backups() if not name.startswith(".")]
    with started(found, "exec", "--no-TTY", *SLOW, "backup", "kimai-backup", "backup") as running:
        poll(is_writing(found), "the archive grows")
        began = time.monotonic()
        found.project.stop("backup")
        assert time.monotonic() - began < GRACE
        said_at_the_end(running, GRACE)
    assert running.returncode != 0
    assert found.project.inspect("backup")["State"]["ExitCode"] == 0, "it ended by itself"
    assert [name for name in found.backups() if not name.startswith(".")] == published
    found.project.start("backup")


def test_after_a_kill_the_daemon_is_there_again_and_the_next_backup_tidies_up(large: Large) -> None:
    found = large.story
    before = found.project.inspect("backup")
    with started(found, "exec", "--no-TTY", *SLOW, "backup", "kimai-backup", "backup") as running:
        poll(is_writing(found), "the archive grows")
        end_by(before["State"]["Pid"])
        said_at_the_end(running, GRACE)
    assert running.returncode == 137
    left = found.growing()
    assert left
    poll(lambda: found.project.inspect("backup")["RestartCount"] == before["RestartCount"] + 1, "it is started again")
    found.project.wait("backup", "running")
    ran, manifest = found.backup()
    for name in left:
        assert f"removed {name}, which a run that was killed left" in ran.err
    assert found.backups() == [f"{manifest['id']}.json", f"{manifest['id']}.zip"]
    rows = {table["name"]: table["rows"] for table in manifest["database"]["tables"]}
    assert rows["kimai2_timesheet"] == TIMESHEETS


# ── Restores ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restore_that_is_killed_is_known_of_and_taken_back_by_the_next(large: Large) -> None:
    found = large.story
    found.install_anew()
    assert "cut short" in killed_while_it_loads(found, "latest", dropped=b"just installed are dropped")
    ran = found.restore("latest")
    assert ran.code == 0, ran.said
    assert "taken back first" in ran.said
    assert differences(large.checksums, found.database.checksums()) == {}
    assert {"running", "healthy"} <= found.project.state("kimai")
    assert found.login_status() == 200
    assert found.command("health").code == 0


def test_a_restore_that_is_killed_once_kimai_is_stopped_lets_it_run_again(large: Large) -> None:
    found = large.story
    found.install_anew()
    before = found.database.checksums()
    kill_restore_at(found, "sidecar.restore", "carry_out", "latest")
    assert "exited" in found.project.state("kimai")
    assert "Kimai may be stopped" in found.command("backup").errors[0]
    assert found.command("health").code != 0
    ran = found.restore("--rollback")
    assert ran.code == 0, ran.said
    found.project.wait("kimai", "healthy")
    assert found.database.checksums() == before
    assert found.command("health").code == 0


def test_a_policy_by_which_docker_would_start_kimai_half_restored_is_told(large: Large) -> None:
    found = large.story
    kimai = found.project.inspect("kimai")["Id"]
    assert "unless-stopped" not in found.restore("latest", "--dry-run").said
    images.docker("update", "--restart", "always", kimai)
    try:
        assert "by `unless-stopped` it would not" in found.restore("latest", "--dry-run").out
        assert "Set `restart: unless-stopped`" in found.command("doctor").out
    finally:
        images.docker("update", "--restart", "unless-stopped", kimai)


def test_a_database_that_dies_under_a_restore_leaves_kimai_running_and_the_next_one_heals(large: Large) -> None:
    found = large.story
    found.install_anew()
    with started(found, "run", "--rm", "--no-TTY", "restore", "latest") as running:
        begin_restore(found)
        found.project.kill("sqldb")
        said = said_at_the_end(running, 180)
    assert running.returncode == 5, said
    assert "Traceback" not in said
    assert "is started again" in said
    found.up("sqldb")
    found.project.wait("kimai", "healthy")
    ran = found.restore("latest")
    assert ran.code == 0, ran.said
    assert differences(large.checksums, found.database.checksums()) == {}
    assert found.login_status() == 200


# ── Restores over what is there ──────────────────────────────────────────────────────────────────────────────


def test_a_kimai_in_use_is_replaced_and_a_kill_is_ended_either_way(large: Large) -> None:
    """Until then no backup is made, `backup` is unhealthy, and Kimai stays stopped."""
    found = large.story
    found.database.query("INSERT INTO kimai2_tags (name) VALUES ('since the backup')")
    now = found.database.checksums()
    assert differences(large.checksums, now)
    for end, wanted in (("--rollback", now), ("--resume", large.checksums)):
        dropped = b"what was in the database is dropped"
        assert "--rollback" in killed_while_it_loads(found, "latest", "--replace", dropped=dropped)
        assert "exited" in found.project.state("kimai")
        ended_well(found, end, wanted)
    assert len([name for name in found.backups() if name.endswith("_safety.zip")]) == 2


def test_what_was_written_once_it_was_in_place_is_not_rolled_back(large: Large) -> None:
    """Kimai runs again by then, and its start has taken what was set aside for its own. That is no reason."""
    found = large.story
    found.database.query("INSERT INTO kimai2_tags (name) VALUES ('since the backup')")
    now = found.database.checksums()
    kill_restore_at(found, "sidecar.carry_out", "settle", "latest", "--replace")
    assert "running" in found.project.state("kimai")
    found.in_kimai("sh", "-c", "echo new >/opt/kimai/var/data/new.txt")
    ran = found.restore("--rollback")
    assert ran.code == 8, ran.said
    assert "var/data/new.txt in its folder was written since" in ran.errors[0]
    assert "running" in found.project.state("kimai")
    found.in_kimai("rm", "/opt/kimai/var/data/new.txt")
    ended_well(found, "--rollback", now)


def test_a_kimai_that_has_started_by_then_is_resumed(large: Large) -> None:
    kill_restore_at(large.story, "sidecar.carry_out", "settle", "latest", "--replace")
    ended_well(large.story, "--resume", large.checksums)


def test_a_restore_into_an_empty_one_that_has_started_by_then_is_taken_back_by_the_next(large: Large) -> None:
    large.story.install_anew()
    kill_restore_at(large.story, "sidecar.carry_out", "settle", "latest")
    ended_well(large.story, "latest", large.checksums)


def ended_well(found: Story, end: str, wanted: dict[str, tuple[int, int]]) -> None:
    ran = found.restore(end)
    assert ran.code == 0, ran.said
    assert differences(wanted, found.database.checksums()) == {}
    assert {"running", "healthy"} <= found.project.state("kimai")
    assert found.login_status() == 200
    assert found.command("health").code == 0
    assert ".kimai-backup-restore" not in found.in_kimai("find", "/opt/kimai", "-name", ".kimai-backup*")
