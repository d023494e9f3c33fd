"""A restore into a database that Kimai has only just installed; one that anybody uses is never touched."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sidecar.database.objects import MARKER
from tests.standin.install import NEWEST_MIGRATION
from tests.support import instance as instances
from tests.support.cli import Site
from tests.support.killing import Point, waiting_at
from tests.support.servers import free_port
from tests.support.web import Web, serving

USER = (
    "INSERT INTO kimai2_users SELECT {0}, 'user{0}', 'u{0}@example.com', 'x', NULL, 1, '2026-01-01', 'a:0:{{}}', "
    "NULL, NULL, NULL"
)


def install(site: Site) -> None:
    """What Kimai's entrypoint leaves in an empty database: its tables, its migrations, and a first user."""
    site.lose_database()
    statements = re.sub(r"^--.*\n", "", instances.SCHEMA.read_text(), flags=re.MULTILINE).split(";\n")
    site.sql("SET foreign_key_checks = 0", *(statement for statement in statements if statement.strip()))
    site.sql(
        f"INSERT INTO migration_versions VALUES ('DoctrineMigrations\\\\{NEWEST_MIGRATION}', NOW(), 5)",
        USER.format(1),
        "INSERT INTO kimai2_user_preferences (user_id, name, value) VALUES (1, 'skin', 'dark')",
        "INSERT INTO kimai2_configuration (name, value) VALUES ('theme.x', 'y')",
        "INSERT INTO kimai2_sessions VALUES ('s', 'x', 1, 1)",
    )


@pytest.fixture
def fresh(site: Site) -> Site:
    """A site with a backup, on a new server: the database just installed, no files."""
    site.backup()
    site.remember()
    install(site)
    site.lose_files()
    return site


def test_a_database_that_was_only_just_installed_makes_room(fresh: Site) -> None:
    dry = fresh.run("restore", "latest", "--dry-run")
    assert (dry.code, "is freshly installed" in dry.said) == (0, True)
    assert fresh.sql("SELECT username FROM kimai2_users") == [("user1",)]
    ran = fresh.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert "nobody had used them" in ran.said
    fresh.assert_restored()


def test_one_that_fails_says_that_the_installation_is_gone(fresh: Site) -> None:
    bringing_up = Point("sidecar.carry_out", "bring_up")
    with waiting_at(fresh, bringing_up, "restore", "latest") as process:
        fresh.sql("DROP TABLE migration_versions")
    ran = fresh.ended(process)
    assert ran.code == 3, ran.said
    assert "of the Kimai that was just installed are gone: install it anew" in ran.errors[0]
    assert fresh.objects() == []


def test_without_a_user_as_well(fresh: Site) -> None:
    fresh.sql("DELETE FROM kimai2_user_preferences", "DELETE FROM kimai2_users")
    assert fresh.run("restore", "latest").code == 0
    fresh.assert_restored()


@pytest.mark.parametrize(
    ("used", "named"),
    [
        (USER.format(2), "kimai2_users"),
        ("INSERT INTO kimai2_tags (name) VALUES ('mine')", "kimai2_tags"),
        ("CREATE TABLE wp_posts (id INT PRIMARY KEY)", "wp_posts"),
        ("CREATE TABLE Kimai2_notes_of_mine (id INT PRIMARY KEY)", "Kimai2_notes_of_mine"),
        ("CREATE VIEW kimai2_report AS SELECT id FROM kimai2_users", "view kimai2_report"),
        ("CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1", "function f"),
    ],
)
def test_one_that_is_used_or_shared_is_left_alone(fresh: Site, used: str, named: str) -> None:
    fresh.sql(used)
    rows, objects = fresh.rows() if "VIEW" not in used else {}, fresh.objects()
    for arguments in (["--dry-run"], []):
        ran = fresh.run("restore", "latest", *arguments)
        assert ran.code == 8, ran.said
        assert named in ran.said
    assert fresh.objects() == objects
    assert (fresh.rows() if "VIEW" not in used else {}) == rows
    assert fresh.traces() == []


def test_a_timesheet_is_use_enough(fresh: Site) -> None:
    columns = [str(row[0]) for row in fresh.sql("SHOW COLUMNS FROM kimai2_timesheet")]
    assert "start_time" in columns
    fresh.sql(
        "SET foreign_key_checks = 0, sql_mode = ''",
        "INSERT INTO kimai2_timesheet (id) VALUES (1)",
    )
    before = fresh.rows()
    ran = fresh.run("restore", "latest")
    assert ran.code == 8
    assert "kimai2_timesheet, which has rows" in ran.said
    assert fresh.rows() == before


# ── Killed between two steps ─────────────────────────────────────────────────────────────────────────────────


def restore_killed(site: Site, step: str, *, before: bool) -> None:
    """A restore that SIGKILL ends at that function of `restore_database`."""
    script = f"""
import os, signal
from sidecar import restore, restore_database
from sidecar.app import App
from sidecar.report.progress import progress
real = restore_database.{step}
def killed(*arguments):
    {"pass" if before else "real(*arguments)"}
    os.kill(os.getpid(), signal.SIGKILL)
restore_database.{step} = killed
with progress(quiet=True) as shown:
    restore.restore(App.load(os.environ).restore_job(shown), "latest")
"""
    done = subprocess.run([sys.executable, "-c", script], env=site.environment, timeout=90, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("step", "before"), [("mark", True), ("mark", False), ("_make_room", False)], ids=["unmarked", "marked", "dropped"]
)
def test_the_next_restore_heals_one_that_was_killed(fresh: Site, step: str, before: bool) -> None:
    restore_killed(fresh, step, before=before)
    assert (MARKER in fresh.objects()) == (step != "mark" or not before)
    assert ("kimai2_users" in fresh.objects()) == (step == "mark")
    dry = fresh.run("restore", "latest", "--dry-run")
    assert (dry.code, "was killed" in dry.said) == (0, True), dry.said
    ran = fresh.run("restore", "latest")
    assert ran.code == 0, ran.said
    fresh.assert_restored()


def test_a_database_that_was_used_after_the_kill_is_not_dropped(fresh: Site) -> None:
    restore_killed(fresh, "mark", before=False)
    fresh.sql(USER.format(2))
    before = fresh.rows()
    ran = fresh.run("restore", "latest")
    assert ran.code == 8
    assert "written to since" in ran.said
    assert fresh.rows() == before
    # Nothing of it is the restore's: it had dropped and made nothing yet.
    ran = fresh.run("restore", "latest", "--discard-killed")
    assert ran.code == 8, ran.said
    assert "--replace" in ran.errors[0]
    assert fresh.run("restore", "latest", "--discard-killed", "--replace").code == 0
    fresh.assert_restored()


# ── The login page after a restore ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:
        yield found


def test_the_login_page_is_asked_and_said(fresh: Site, web: Web) -> None:
    ran = fresh.run("restore", "latest", KIMAI_URL=f"http://admin:s3cr%40t@127.0.0.1:{web.port}")
    assert ran.code == 0, ran.said
    assert web.paths == ["/en/login"]
    assert f"login page answers at http://127.0.0.1:{web.port}" in ran.said
    assert not any(secret in ran.said for secret in ("s3cr", "s3cr@t"))
    fresh.assert_restored()


@pytest.mark.parametrize("how", ["500", "down"])
def test_a_login_page_that_fails_takes_all_back(site: Site, web: Web, how: str) -> None:
    site.backup()
    site.lose_all()
    before = site.files()
    web.status = 500
    port = web.port if how == "500" else free_port()
    ran = site.run("restore", "latest", KIMAI_URL=f"http://admin:s3cr%40t@127.0.0.1:{port}")
    assert ran.code == 5, ran.said
    assert ("answers 500" if how == "500" else "does not answer") in ran.said
    assert "s3cr" not in ran.said
    assert site.objects() == []
    assert site.files() == before
    assert site.traces() == []
