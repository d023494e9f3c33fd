"""The gates of a restore on real servers: Kimai's version, its migrations and plugins, and the way up by --upgrade."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.database.url import parse
from sidecar.restore_note import RestoreNote
from sidecar.state import State
from tests.standin.install import NEWEST_MIGRATION, install_console, set_fault
from tests.support.cli import Ran, Site, make_site, poll
from tests.support.line import IN_THE_DUMP
from tests.support.proxy import Proxy
from tests.support.servers import Server

NEWER = "Version20261015120000"
OLDER = "Version20250101000000"
MIGRATIONS = (
    "ALTER TABLE kimai2_tags ADD COLUMN visible TINYINT(1) NOT NULL DEFAULT 1",
    "CREATE TABLE kimai2_new_of_267 (id INT PRIMARY KEY, name VARCHAR(20))",
    "INSERT INTO kimai2_new_of_267 VALUES (1, 'by a migration'), (2, 'another')",
)
"""What the migrations of the newer Kimai do: of a table with rows that no backup knew of."""


@pytest.fixture
def lost(site: Site) -> Site:
    """A site whose database and files are gone, with a backup of 2.66.0 whose plugin works with any Kimai."""
    plugin(site, "DemoBundle", "1.2.0", 20000)
    site.backup()
    site.remember()
    site.lose_all()
    return site


def install(site: Site, version: str, migration: str, sql: Sequence[str] = (), without: Sequence[str] = ()) -> None:
    install_console(site.root, version=version, newest_migration=migration, sql=sql, without=without)


def assert_as_before(site: Site) -> None:
    """Rows and files are as they were, whatever Kimai's own code is by now."""
    assert site.remembered is not None
    rows, files = site.remembered
    assert site.rows() == rows
    assert _own(site.files()) == _own(files)


def _own(files: dict[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in files.items() if not name.startswith(("bin", "migrations"))}


def reports(site: Site) -> list[dict[str, Any]]:
    """What restores have left in the state folder, oldest first."""
    paths = sorted((site.state / "kimai.restores").iterdir())
    assert {path.suffix for path in paths} == {".json"}
    return [json.loads(path.read_bytes()) for path in paths]


def refused(site: Site, *arguments: str) -> str:
    """The error of a restore that is refused and has touched nothing, as its report says, too."""
    before = site.files(), site.objects()
    dry = site.run("restore", "latest", *arguments, "--dry-run")
    ran = site.run("restore", "latest", *arguments)
    assert (dry.code, ran.code) == (8, 8), ran.said
    assert dry.errors == ran.errors
    assert (site.files(), site.objects(), site.traces()) == (*before, [])
    said = reports(site)[-1]
    assert (said["outcome"], said["exit_code"], said["done"]) == ("refused", 8, [])
    assert said["reason"] in ran.errors[0]
    return ran.errors[0]


def restored(site: Site, *arguments: str) -> Ran:
    ran = site.run("restore", "latest", *arguments)
    assert ran.code == 0, ran.said
    assert site.traces() == []
    return ran


# ── Another version ──────────────────────────────────────────────────────────────────────────────────────────


def test_another_version_of_the_same_schema_passes_where_that_is_said(lost: Site) -> None:
    for version in ("2.66.1", "2.65.9"):
        install(lost, version, NEWEST_MIGRATION)
        said = refused(lost)
        assert f"the backup is of Kimai 2.66.0, Kimai {version} is installed" in said
        assert "git tag 2.66.0, image tag apache-2.66.0" in said
        assert "--accept-version-mismatch" in said
        assert "2.66.0" in lost.run("restore", "latest", "--accept-version-mismatch", "--dry-run").said
    ran = restored(lost, "--accept-version-mismatch")
    assert f"both are at migration {NEWEST_MIGRATION}" in ran.out
    assert_as_before(lost)


def test_a_newer_code_needs_an_upgrade(lost: Site) -> None:
    install(lost, "2.67.0", NEWER)
    said = refused(lost)
    assert "Install Kimai 2.66.0 first" in said
    assert "--upgrade" in said
    said = refused(lost, "--accept-version-mismatch")
    assert f"its database is at migration {NEWEST_MIGRATION}, the code at {NEWER}" in said


@pytest.mark.parametrize("options", [(), ("--upgrade", "--accept-version-mismatch")], ids=["nothing", "everything"])
def test_a_database_that_is_newer_than_the_code_is_refused_whatever_is_said(
    lost: Site, options: tuple[str, ...]
) -> None:
    for version in ("2.24.0", "2.66.0"):
        install(lost, version, OLDER)
        said = refused(lost, *options)
        assert f"is at migration {NEWEST_MIGRATION}, newer than Kimai's code, which knows {OLDER}" in said
        assert "git tag 2.66.0" in said


def test_an_upgrade_never_leads_down(lost: Site) -> None:
    install(lost, "2.65.9", NEWEST_MIGRATION)
    assert "--upgrade leads up, never down" in refused(lost, "--upgrade")


def test_what_can_not_be_compared_does_not_pass_as_equal(lost: Site) -> None:
    install(lost, "2.66.1", NEWEST_MIGRATION)
    shutil.rmtree(lost.root / "migrations")
    assert "nobody knows whether its database fits" in refused(lost, "--accept-version-mismatch")


def test_files_alone_ask_for_no_schema(lost: Site) -> None:
    restored(lost, "--only", "database")
    install(lost, "2.24.0", OLDER)
    before = lost.rows()
    assert "--accept-version-mismatch" in refused(lost, "--only", "files")
    restored(lost, "--only", "files", "--accept-version-mismatch")
    assert lost.rows() == before
    assert lost.run("restore", "latest", "--only", "files", "--upgrade").code == 2


# ── The way up ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("without", [(), ("kimai:update",)], ids=["kimai:update", "kimai:install"])
def test_an_upgrade_proves_the_old_database_and_migrates_it(lost: Site, without: tuple[str, ...]) -> None:
    install(lost, "2.67.0", NEWER, MIGRATIONS, without)
    dry = lost.run("restore", "latest", "--upgrade", "--dry-run")
    assert (dry.code, lost.objects()) == (0, []), dry.said
    assert "would let Kimai migrate the database" in dry.out
    ran = restored(lost, "--upgrade")
    steps = [json.loads(line)["message"] for line in ran.err.splitlines()]
    equal = next(at for at, line in enumerate(steps) if "the database is loaded and equal" in line)
    migrated = next(at for at, line in enumerate(steps) if "Kimai has migrated the database" in line)
    assert equal < migrated
    assert ("kimai:install" if without else "kimai:update") in steps[migrated]
    assert lost.sql("SELECT id FROM kimai2_new_of_267") == [(1,), (2,)]
    assert lost.sql("SELECT DISTINCT visible FROM kimai2_tags") == [(1,)]
    assert "then update" not in ran.out
    # All else is as it was.
    rows = {name: value for name, value in lost.rows().items() if name not in ("kimai2_tags", "migration_versions")}
    assert rows.items() - {("kimai2_new_of_267", rows["kimai2_new_of_267"])} == {
        (name, value) for name, value in lost.remembered[0].items() if name in rows
    }
    said = reports(lost)[-1]
    assert (said["outcome"], said["asked"]) == ("restored", {"reference": "latest", "upgrade": True})
    assert f"Kimai migrates the loaded database: from migration {NEWEST_MIGRATION} to {NEWER}" in said["checked"]
    assert any("Kimai has migrated" in line for line in said["done"])


def test_the_same_version_migrates_what_was_backed_up_before_it_was_migrated(site: Site) -> None:
    site.sql(f"UPDATE migration_versions SET version = 'DoctrineMigrations\\\\{OLDER}'")
    site.backup()
    site.lose_all()
    assert "backed up before it was migrated" in refused(site)
    restored(site, "--upgrade")
    assert (f"DoctrineMigrations\\{NEWEST_MIGRATION}",) in site.sql("SELECT version FROM migration_versions")


def test_an_upgrade_with_nothing_to_migrate(lost: Site) -> None:
    install(lost, "2.67.0", NEWEST_MIGRATION)
    restored(lost, "--upgrade")
    assert_as_before(lost)


@pytest.mark.parametrize(
    ("sql", "fault", "named"),
    [
        ((*MIGRATIONS, "ALTER TABLE kimai2_nowhere ADD COLUMN x INT"), None, "kimai2_nowhere"),
        (MIGRATIONS, "fail kimai:user:list", "kimai:user:list"),
        (MIGRATIONS, "nonsense doctrine:migrations:up-to-date", "doctrine:migrations:up-to-date"),
        (MIGRATIONS, "fail kimai:update", "kimai:update"),
    ],
    ids=["migration", "users", "up-to-date", "update"],
)
def test_an_upgrade_that_fails_takes_back_what_migrations_made_as_well(
    lost: Site, sql: tuple[str, ...], fault: str | None, named: str
) -> None:
    install(lost, "2.67.0", NEWER, sql)
    set_fault(lost.root, fault)
    before = lost.files()
    ran = lost.run("restore", "latest", "--upgrade")
    assert ran.code == 5, ran.said
    assert named in ran.errors[0]
    assert (lost.objects(), lost.files(), lost.traces()) == ([], before, [])
    said = reports(lost)[-1]
    assert (said["outcome"], said["exit_code"], said["journal"]) == ("failed", 5, None)
    assert named in said["reason"]
    assert any("taking back what was loaded" in line for line in said["log"])
    # The next try meets an empty database.
    set_fault(lost.root, None)
    install(lost, "2.66.0", NEWEST_MIGRATION)
    restored(lost)
    assert_as_before(lost)


def test_a_kimai_that_says_it_has_migrated_and_has_not(lost: Site) -> None:
    """`kimai:install` ends with 0 although it only warned."""
    install(lost, "2.67.0", NEWER)
    set_fault(lost.root, "nonsense kimai:update")
    ran = lost.run("restore", "latest", "--upgrade")
    assert ran.code == 8, ran.said
    assert "older database" in ran.errors[0]
    assert (lost.objects(), lost.traces()) == ([], [])


def test_a_migration_that_outlives_its_console_is_ended(lost: Site) -> None:
    """The server goes on with a statement whose client was ended, and holds its table for as long."""
    endless = "INSERT INTO kimai2_new_of_267 SELECT BENCHMARK(4000000000, SHA2('x', 512)), 'never'"
    install(lost, "2.67.0", NEWER, (*MIGRATIONS, endless))
    process = lost.start("restore", "latest", "--upgrade")

    def running() -> list[int]:
        # Not by information_schema: MySQL's fails while anybody carries out a statement with an emoji.
        found = lost.server.run("SHOW FULL PROCESSLIST")
        return [row[0] for row in found if row[3] == lost.database and str(row[7]).startswith(endless[:60])]

    poll(lambda: bool(running()), "the migration is carried out")
    try:
        process.send_signal(signal.SIGTERM)
        ran = lost.ended(process, 60)
        left = running()
    finally:
        for number in running():
            lost.server.run(f"KILL {number}")
    assert (ran.code, left) == (130, []), ran.said
    assert (lost.objects(), lost.traces()) == ([], [])
    assert reports(lost)[-1]["outcome"] == "interrupted"


KILLED = """
import os, signal
from sidecar import restore, upgrade
from sidecar.app import App
from sidecar.wish import Allowed
from sidecar.report.progress import progress
real = upgrade.asked.upgrade
def killed(console):
    real(console)
    os.kill(os.getpid(), signal.SIGKILL)
upgrade.asked.upgrade = killed
with progress(quiet=True) as shown:
    restore.restore(App.load(os.environ).restore_job(shown), "latest", allowed=Allowed(upgrade=True))
"""


def test_an_upgrade_that_is_killed_once_kimai_has_migrated(lost: Site) -> None:
    install(lost, "2.67.0", NEWER, MIGRATIONS)
    done = subprocess.run([sys.executable, "-c", KILLED], env=lost.environment, timeout=90, check=False)
    assert done.returncode == -signal.SIGKILL
    assert reports(lost)[-1]["outcome"] == "under way"
    assert "kimai2_new_of_267" in lost.objects()
    assert lost.run("backup").code == 8
    # Whether anybody has used it since, nobody can tell from rows that were migrated.
    ran = lost.run("restore", "latest", "--upgrade")
    assert ran.code == 8, ran.said
    assert "--discard-killed" in ran.errors[0]
    install(lost, "2.66.0", NEWEST_MIGRATION)
    restored(lost, "--discard-killed")
    assert_as_before(lost)


@pytest.mark.parametrize("options", [(), ("--only", "files"), ("--discard-killed",)], ids=["all", "files", "discard"])
def test_a_killed_upgrade_whose_database_was_taken_back_claims_nothing_that_came_since(
    site: Site, options: tuple[str, ...]
) -> None:
    """Taking back the files failed, so the journal stayed; meanwhile somebody has loaded another database."""
    site.backup()
    site.remember()
    state = State(site.state, "kimai", site.root)
    note = RestoreNote(
        backup="one", database=redacted(site), run_id="0" * 16, root=str(site.root.resolve()), upgrading=True
    )
    state.write_restore_note(note)
    site.run("restore", "latest", *options)
    assert site.remembered is not None
    assert site.rows() == site.remembered[0]


def redacted(site: Site) -> str:
    return parse(site.url).redacted


# ── Updated while it is backed up ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def held(line: tuple[Site, Proxy]) -> tuple[Site, Callable[[], Ran]]:
    """A site whose backup is held in the middle of its dump; the call lets it go on, and tells how it ended."""
    site, proxy = line
    proxy.hold_after(IN_THE_DUMP, from_server=True)
    process = site.start("backup")
    assert proxy.held.wait(60)

    def go_on() -> Ran:
        proxy.release()
        return site.ended(process)

    return site, go_on


def test_a_kimai_that_is_updated_meanwhile_makes_no_backup(held: tuple[Site, Callable[[], Ran]]) -> None:
    site, go_on = held
    install(site, "2.66.1", NEWEST_MIGRATION)
    ran = go_on()
    assert ran.code == 8, ran.said
    assert "Kimai was updated during the backup, from 2.66.0 to 2.66.1" in ran.errors[0]
    assert "Run the backup again" in ran.errors[0]
    assert site.shelf() == []
    assert "_2.66.1_" in site.backup()


def test_a_database_that_is_migrated_meanwhile_makes_no_backup(held: tuple[Site, Callable[[], Ran]]) -> None:
    site, go_on = held
    site.sql(f"INSERT INTO migration_versions (version) VALUES ('DoctrineMigrations\\\\{NEWER}')")
    ran = go_on()
    assert ran.code == 8, ran.said
    assert (
        f"the database was migrated during the backup, from DoctrineMigrations\\{NEWEST_MIGRATION} to" in ran.errors[0]
    )
    assert site.shelf() == []
    site.backup()


# ── Plugins ──────────────────────────────────────────────────────────────────────────────────────────────────


def plugin(site: Site, folder: str, version: str | None, requires: int = 26600) -> None:
    path = site.root / "var/plugins" / folder
    path.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = {"name": f"example/{folder.lower()}", "extra": {"kimai": {"require": requires}}}
    if version:
        said["version"] = version
    (path / "composer.json").write_text(json.dumps(said))


def test_the_manifest_names_plugins(site: Site) -> None:
    plugin(site, "DemoBundle", "1.2.0", 26500)
    plugin(site, "OtherBundle", None)
    made = site.backup()
    demo = {"folder": "DemoBundle", "name": "example/demobundle", "version": "1.2.0", "requires": 26500}
    other = {"folder": "OtherBundle", "name": "example/otherbundle", "version": None, "requires": 26600}
    assert site.run("show", made, "--json").json()["kimai"]["plugins"] == [demo, other]
    assert "DemoBundle 1.2.0" in site.run("show", made).out


@pytest.fixture
def plugged(site: Site) -> Iterator[Site]:
    """A site with two plugins, and a backup of it; its database is gone."""
    plugin(site, "DemoBundle", "1.2.0")
    plugin(site, "OtherBundle", "3.0")
    site.backup()
    site.remember()
    site.lose_database()
    return site


def test_plugins_that_are_the_backups_pass(plugged: Site) -> None:
    ran = restored(plugged, "--only", "database")
    assert "2 plugins are installed as the backup has them" in ran.err
    plugged.assert_restored()


@pytest.mark.parametrize("version", ["1.1.0", "1.3.0"])
def test_a_database_is_not_put_under_plugins_of_another_version(plugged: Site, version: str) -> None:
    plugin(plugged, "DemoBundle", version)
    said = refused(plugged, "--only", "database")
    assert f"DemoBundle {version} is installed, the backup's tables are of DemoBundle 1.2.0" in said
    ran = restored(plugged, "--only", "database", "--accept-version-mismatch")
    assert "its installer" in ran.out


def test_nor_under_a_plugin_that_it_has_no_tables_of(plugged: Site) -> None:
    plugin(plugged, "ThirdBundle", "1.0")
    assert "ThirdBundle 1.0 is installed, and its tables are not in the backup" in refused(
        plugged, "--only", "database"
    )
    # One that Kimai doesn't load is none.
    (plugged.root / "var/plugins/ThirdBundle/.disabled").touch()
    restored(plugged, "--only", "database")


def test_a_plugin_that_is_not_installed_leaves_its_tables_idle(plugged: Site) -> None:
    shutil.rmtree(plugged.root / "var/plugins/OtherBundle")
    assert "their tables lie idle: OtherBundle 3.0" in restored(plugged, "--only", "database").out


def test_with_the_files_the_backups_plugins_come_back(plugged: Site) -> None:
    plugin(plugged, "DemoBundle", "1.3.0")
    plugin(plugged, "ThirdBundle", "1.0")
    ran = restored(plugged)
    assert "plugin DemoBundle 1.3.0 is installed, DemoBundle 1.2.0 comes back" in ran.out
    assert "ThirdBundle 1.0 is not in the backup: it goes" in ran.out
    plugged.assert_restored()


def test_a_plugin_that_needs_a_newer_kimai_would_keep_it_from_starting(site: Site) -> None:
    plugin(site, "DemoBundle", "2.0", 26601)
    site.backup()
    site.lose_database()
    said = refused(site)
    assert "DemoBundle 2.0 needs 2.66.1" in said
    assert refused(site, "--accept-version-mismatch") == said
    restored(site, "--only", "database")


# ── Servers ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.flavours("mysql")
@pytest.mark.parametrize("way", ["to MariaDB", "to MySQL"])
def test_a_backup_goes_to_the_other_flavour(
    tmp_path: Path, flavour: str, mysql_server: Server, mariadb_server: Server, way: str
) -> None:
    servers = (mysql_server, mariadb_server) if way == "to MariaDB" else (mariadb_server, mysql_server)
    one, other = (make_site(tmp_path / name, server) for name, server in zip(("one", "other"), servers, strict=True))
    try:
        one.backup()
        wanted = {name: rows for name, (rows, _) in one.rows().items()}
        other.lose_all()
        ran = other.run("restore", "latest", BACKUP_DIR=str(one.backups))
        assert ran.code == 0, ran.said
        assert "rows and digests are compared, definitions are not" in ran.out
        assert {name: rows for name, (rows, _) in other.rows().items()} == wanted
        # What the other one doesn't know is refused before anything is touched.
        collation = "utf8mb4_ja_0900_as_cs" if way == "to MariaDB" else "utf8mb4_uca1400_german2_ai_ci"
        one.sql(f"CREATE TABLE words (id INT PRIMARY KEY, w VARCHAR(20) COLLATE {collation})")
        one.backup()
        other.lose_database()
        ran = other.run("restore", "latest", BACKUP_DIR=str(one.backups))
        assert ran.code == 8, ran.said
        assert f"doesn't know what it holds: collation {collation} (words)" in ran.errors[0]
        assert other.objects() == []
    finally:
        one.end()
        other.end()
