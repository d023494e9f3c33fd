"""A restore over a Kimai in use on each flavour of server: views, routines, triggers and events come back as well."""

import json
from typing import Any

import pytest

from tests.services.test_gates import MIGRATIONS, NEWER, install
from tests.standin.install import set_fault
from tests.support.cli import Site
from tests.support.killing import Point, kill_at
from tests.support.servers import Server

LOADING = Point("sidecar.database.load", "Load._take", 40)
ODDS = (
    "CREATE TABLE odd (id INT PRIMARY KEY, f FLOAT, d DATETIME(6), b BLOB, t TEXT CHARACTER SET latin1)",
    "INSERT INTO odd VALUES (1, 16777216, '2026-10-25 02:30:00.000001', X'00FF0D0A', 'ümlaut'), (2, 0, NULL, '', '')",
    "CREATE TABLE odd_child (id INT PRIMARY KEY, o INT, CONSTRAINT FK_odd FOREIGN KEY (o) REFERENCES odd (id))",
    "INSERT INTO odd_child VALUES (1, 2)",
    "CREATE VIEW seen AS SELECT id FROM odd",
    "CREATE PROCEDURE nothing () BEGIN END",
    "CREATE EVENT yearly ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM odd",
)


CODE = (
    "CREATE TRIGGER counted BEFORE INSERT ON odd FOR EACH ROW SET NEW.f = NEW.f + 1",
    "CREATE FUNCTION twice (n INT) RETURNS INT DETERMINISTIC RETURN 2 * n",
)
"""What a server with a binary log, as MySQL is by default, lets only its administrator make."""


def as_kimai(site: Site, *statements: str) -> None:
    """By Kimai's own account: of what is another user's it may not see the text."""
    own = Server(site.server.host, site.server.port, site.user, site.password, site.server.flavour)
    own.run(*statements, database=site.database)


class Story:
    """A Kimai that went on since its backup; each state by rows and by all that stands beside them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.backup = site.backup()
        self.then = self.state()
        as_kimai(
            site,
            *ODDS,
            *(CODE if site.server.flavour == "mariadb" else ()),
            "INSERT INTO kimai2_tags (name) VALUES ('since the backup')",
        )
        self.now = self.state()
        assert self.then != self.now

    def state(self) -> Any:
        names = {
            kind: sorted(row[0] for row in self.site.server.run(sql.format(self.site.database)))
            for kind, sql in {
                "views": "SELECT CONCAT(TABLE_NAME, VIEW_DEFINITION) FROM information_schema.VIEWS "
                "WHERE TABLE_SCHEMA = '{}'",
                "triggers": "SELECT CONCAT(TRIGGER_NAME, ACTION_STATEMENT) FROM information_schema.TRIGGERS "
                "WHERE TRIGGER_SCHEMA = '{}'",
                "routines": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{}'",
                "events": "SELECT CONCAT(EVENT_NAME, STATUS) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{}'",
                "keys": "SELECT CONCAT(TABLE_NAME, CONSTRAINT_NAME) FROM information_schema.TABLE_CONSTRAINTS "
                "WHERE TABLE_SCHEMA = '{}'",
            }.items()
        }
        return self.site.rows(), names


@pytest.fixture
def story(site: Site) -> Story:
    return Story(site)


def test_all_that_stands_in_a_database_is_replaced_and_comes_back(story: Story, flavour: str) -> None:
    site = story.site
    ran = site.run("restore", story.backup, "--replace")
    assert ran.code == 0, ran.said
    assert story.state() == story.then
    [safety] = [each for each in site.ids() if each.endswith("_safety")]
    assert json.loads((site.backups / f"{safety}.json").read_bytes())["database"]["flavour"] == flavour
    assert site.run("restore", safety, "--replace").code == 0
    assert story.state() == story.now


def test_a_kimai_that_does_not_come_up_gets_back_all_of_it(story: Story) -> None:
    set_fault(story.site.root, "fail kimai:user:list")
    ran = story.site.run("restore", story.backup, "--replace")
    assert ran.code == 5, ran.said
    assert "All is as it was before." in ran.errors[0]
    assert story.state() == story.now


@pytest.mark.parametrize("end", ["--rollback", "--resume"])
def test_a_kill_in_the_load_is_ended_either_way(story: Story, end: str) -> None:
    kill_at(story.site, LOADING, "restore", story.backup, "--replace")
    ran = story.site.run("restore", end)
    assert ran.code == 0, ran.said
    assert story.state() == (story.now if end == "--rollback" else story.then)
    assert story.site.traces() == []


def test_events_run_again_where_a_resume_goes_on_from_what_is_in_place(site: Site) -> None:
    as_kimai(site, "CREATE EVENT each_year ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM kimai2_tags")
    story = Story(site)
    kill_at(site, Point("sidecar.carry_out", "bring_up"), "restore", story.backup, "--replace")
    assert story.state()[1]["events"] != story.then[1]["events"]
    assert site.run("restore", "--resume").code == 0
    assert story.state() == story.then


@pytest.mark.flavours("mysql")
def test_code_that_the_server_would_not_let_be_made_anew_is_not_dropped(story: Story) -> None:
    story.site.sql(CODE[0])
    now = story.state()
    ran = story.site.run("restore", story.backup, "--replace")
    assert ran.code == 8, ran.said
    assert "trigger counted" in ran.errors[0]
    assert "log_bin_trust_function_creators" in ran.errors[0]
    assert story.state() == now


@pytest.mark.flavours("mysql")
@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("event", "ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM odd"),
        ("view", "AS SELECT id FROM odd"),
        ("procedure", "() SET @a = 1"),
    ],
)
def test_what_only_another_user_may_drop_is_told_before_anything_is_dropped(story: Story, kind: str, rest: str) -> None:
    story.site.sql(f"CREATE {kind} of_root {rest}")
    now = story.state()
    ran = story.site.run("restore", story.backup, "--replace")
    assert ran.code == 8, ran.said
    assert f"{kind} of_root" in ran.errors[0]
    assert story.state() == now


# ── The way up ───────────────────────────────────────────────────────────────────────────────────────────────


def test_an_upgrade_over_a_kimai_in_use_that_fails_is_taken_back_with_what_migrations_made(story: Story) -> None:
    site = story.site
    install(site, "2.67.0", NEWER, (*MIGRATIONS, "ALTER TABLE kimai2_nowhere ADD COLUMN x INT"))
    ran = site.run("restore", story.backup, "--replace", "--upgrade")
    assert ran.code == 5, ran.said
    assert "All is as it was before." in ran.errors[0]
    assert story.state() == story.now


def test_an_upgrade_that_is_killed_in_the_migrations_begins_anew(story: Story) -> None:
    """They can't be taken up again: what they have done by then may be half of one."""
    site = story.site
    install(site, "2.67.0", NEWER, MIGRATIONS)
    kill_at(site, Point("sidecar.upgrade", "asked.upgrade"), "restore", story.backup, "--replace", "--upgrade")
    site.sql("CREATE TABLE kimai2_new_of_267 (id INT)")
    for end in ("--resume", "--rollback"):
        ran = site.run("restore", end)
        assert ran.code == 8, ran.said
        assert "--discard-killed" in ran.errors[0]
    ran = site.run("restore", "--resume", "--discard-killed")
    assert ran.code == 0, ran.said
    assert "is dropped" in ran.err
    assert site.sql("SELECT id FROM kimai2_new_of_267") == [(1,), (2,)]


@pytest.mark.parametrize("end", ["--rollback", "--resume"])
def test_an_upgrade_that_is_killed_once_kimai_has_migrated(story: Story, end: str) -> None:
    site = story.site
    install(site, "2.67.0", NEWER, MIGRATIONS)
    point = Point("sidecar.upgrade", "asked.upgrade", 1, "after")
    kill_at(site, point, "restore", story.backup, "--replace", "--upgrade")
    assert "kimai2_new_of_267" in site.objects()
    if end == "--rollback":
        # Nobody can tell whether somebody wrote to it since.
        assert site.run("restore", end).code == 8
        assert site.run("restore", end, "--discard-killed").code == 0
        assert story.state() == story.now
    else:
        install(site, "2.67.0", NEWER)
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert site.sql("SELECT id FROM kimai2_new_of_267") == [(1,), (2,)]
        assert "odd" not in site.objects()
