"""Settings are checked before anything is done, all at once; the doctor finds the rest before it is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Site, make_site, without_rights
from tests.support.instance import install_code
from tests.support.servers import Server

COMMANDS = ("backup", "list", "show", "verify", "restore", "prune", "doctor", "config")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(bare: Site, command: str) -> None:
    for flag in ("--help", "-h"):
        ran = bare.run(command, flag)
        assert ran.code == 0
        assert ran.out.startswith(f"Usage: kimai-backup {command} ")
        assert ran.err == ""


@pytest.fixture
def bare(tmp_path: Path) -> Site:
    """Folders alone, for what needs no database."""
    site = Site(tmp_path, Server("127.0.0.1", 1), "kimai", "kimai", "s3cr:t/p@ss %word")
    site.backups.mkdir()
    return site


def test_help_names_every_command_and_a_wrong_one_is_wrong_usage(bare: Site) -> None:
    ran = bare.run("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)
    for wrong in (["bakcup"], ["backup", "--fast"], ["restore"], ["restore", "latest", "--only", "plugins"]):
        ran = bare.run(*wrong)
        assert ran.code == 2, ran.said
        assert "Error: " in ran.err
    ran = bare.run()
    assert "Usage: " in ran.said
    assert bare.run("--version").out.startswith("kimai-backup 0.")


def test_help_loads_nothing_heavy() -> None:
    """So that it answers at once: drivers and compressors are loaded where they are first used."""
    heavy = {"pymysql", "isal", "stream_zip", "rich", "zipfile", "cronsim", "typer", "pydantic", "ssl"}
    program = f"import sys, sidecar.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_configuration_errors_at_once(bare: Site) -> None:
    ran = bare.run(
        "list",
        RETENTION_DAYS="soon",
        DATABASE_CONNECTIONS="0",
        TZ="Mars/Olympus",
        LOG_LEVEL="loud",
        DATABASE_URL="sqlite:///%kernel.project_dir%/var/data/kimai.sqlite",
        S3_PREFIX="x",
    )
    assert ran.code == 4
    for name in ("RETENTION_DAYS", "DATABASE_CONNECTIONS", "TZ", "LOG_LEVEL", "DATABASE_URL", "S3_BUCKET"):
        assert sum(line.startswith(f"kimai-backup: {name}") for line in ran.errors) == 1, ran.err
    assert "sqlite" in ran.err.lower()


def test_a_secret_file_that_can_not_be_read_is_an_error(bare: Site) -> None:
    ran = bare.run("config", DATABASE_URL_FILE=str(bare.folder / "no-such-file"))
    assert ran.code == 4
    assert "DATABASE_URL_FILE" in ran.errors[0]


def test_config_hides_secrets_and_says_where_each_setting_comes_from(bare: Site) -> None:
    secret = bare.folder / "url"
    secret.write_text(f"{bare.url}\n")
    ran = bare.run(
        "config", "--json", DATABASE_URL_FILE=str(secret), NOTIFY_URLS="mailto://me:s3cr%3At%2Fp%40ss@example.com"
    )
    assert ran.code == 0, ran.said
    found = {each["name"]: each for each in ran.json()}
    assert found["DATABASE_URL"]["source"] == "file"
    assert found["BACKUP_DIR"] == {"name": "BACKUP_DIR", "value": str(bare.backups), "source": "environment"}
    assert found["RETENTION_DAYS"] == {"name": "RETENTION_DAYS", "value": "60", "source": "default"}
    assert "s3cr" not in ran.said
    ran = bare.run("config", RETENTION_DAY="3")
    assert "did you mean RETENTION_DAYS" in ran.err


def test_recipients_that_are_none_never_leave_a_plain_backup(bare: Site) -> None:
    recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    for command in ("backup", "doctor", "config", "run"):
        ran = bare.run(command, BACKUP_ENCRYPT_TO=recipient.replace("ql3z", "ql3y"))
        assert ran.code == 4, ran.said
        assert "BACKUP_ENCRYPT_TO" in ran.err
        assert "number 1 of 1 is none: its checksum is wrong" in ran.err
    assert bare.shelf() == []


def test_sqlite_and_nonsense_in_kimais_own_env(bare: Site) -> None:
    install_code(bare.root)
    sqlite = "sqlite:///%kernel.project_dir%/var/data/kimai.sqlite"
    for url, reason in ((sqlite, "is a sqlite:// url"), ("postgres://a:hunter22@db/kimai", "is a postgres:// url")):
        bare.point_env_at(url)
        ran = bare.run("backup")
        assert ran.code == 4, ran.said
        assert reason in ran.errors[0].lower()
        assert "hunter22" not in ran.said


# ── The doctor ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_healthy_site(site: Site) -> None:
    ran = site.run("doctor", "--json")
    assert ran.code == 0, ran.said
    found = {each["what"]: each for each in ran.json()}
    assert all(each["good"] for each in found.values())
    assert {"Kimai", "app secret", "database", "snapshot", "target local", "room", "clock"} <= set(found)
    assert "2 connections share one" in found["snapshot"]["seen"]
    assert "FAIL" not in site.run("doctor").out
    assert site.shelf() == []


def test_it_finds_all_that_is_wrong_at_once_and_exits_by_the_first(site: Site) -> None:
    site.backups.rmdir()
    (site.root / "bin/console").unlink()
    ran = site.run("doctor", "--json", DATABASE_URL=site.url.replace("%20%25word", ""))
    assert ran.code == 4
    failed = {each["what"]: each["exit_code"] for each in ran.json() if not each["good"]}
    assert failed["Kimai"] == 4
    assert failed["database"] == 5
    assert 6 in failed.values()
    assert all(each["mend"] for each in ran.json() if not each["good"]), ran.out


def test_no_target_fails_one_line_and_the_rest_is_examined(site: Site) -> None:
    ran = site.run("doctor", "--json", BACKUP_DIR="")
    assert ran.code == 4, ran.said
    found = {each["what"]: each for each in ran.json()}
    failed = [each for each in ran.json() if not each["good"]]
    assert [(each["what"], each["exit_code"]) for each in failed] == [("targets", 4)]
    assert "BACKUP_DIR" in failed[0]["mend"]
    assert {"Kimai", "files", "database", "snapshot", "state folder", "clock"} <= set(found)


def test_lacking_rights_come_with_their_grant(tmp_path: Path, server: Server) -> None:
    site = make_site(tmp_path, server, rights="SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, DROP")
    ran = site.run("doctor")
    assert ran.code == 0, ran.said
    grant = f"GRANT LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `{site.database}`.* TO '{site.user}'@'%';"
    assert grant in ran.out
    assert "one connection only" in ran.out
    made = site.backup()
    warnings = site.run("show", made, "--json").json()["warnings"]
    assert any("can't be seen by the database user" in each for each in warnings)
    server.run(grant)
    assert grant not in site.run("doctor").out
    # A restore asks before it begins.
    server.run(f"REVOKE CREATE, INDEX ON `{site.database}`.* FROM '{site.user}'@'%'")
    site.lose_database()
    ran = site.run("restore", "latest")
    assert ran.code == 8, ran.said
    assert f"GRANT CREATE, INDEX ON `{site.database}`.* TO '{site.user}'@'%';" in ran.errors[0]
    site.end()


def test_a_table_that_no_snapshot_covers_is_named_with_its_mend(site: Site) -> None:
    site.sql("CREATE TABLE plugin_notes (id INT PRIMARY KEY) ENGINE=MyISAM")
    ran = site.run("doctor")
    assert ran.code == 0
    assert "MyISAM" in ran.out
    assert "ALTER TABLE `plugin_notes` ENGINE=InnoDB;" in ran.out


def test_folders_that_can_not_be_used(site: Site) -> None:
    site.state.mkdir(mode=0o500)
    (site.root / "var/data/.appsecret").chmod(0)
    ran = site.run("doctor", "--json", prefix=without_rights())
    failed = {each["what"]: each for each in ran.json() if not each["good"]}
    assert "state folder" in failed, ran.out
    assert failed["state folder"]["exit_code"] == 4
    assert "BACKUP_STATE_DIR" in failed["state folder"]["mend"]
    assert "var/data/.appsecret" in failed["files"]["seen"]
    site.state.chmod(0o700)
    shutil.rmtree(site.root / "bin")
    ran = site.run("doctor")
    assert ran.code == 4


def test_a_link_that_leads_to_itself_is_a_wrong_setting(bare: Site) -> None:
    loop = bare.folder / "loop"
    loop.symlink_to(loop)
    folders = {"KIMAI_DIR": loop, "BACKUP_DIR": loop / "backups", "BACKUP_STATE_DIR": loop}
    ran = bare.run("doctor", **{name: str(path) for name, path in folders.items()})
    assert ran.code == 4, ran.said
    for name, path in folders.items():
        assert sum(f"{name} {path} " in line for line in ran.errors) == 1, ran.err


def test_a_misspelt_setting_is_said_by_every_command(site: Site) -> None:
    assert "RETENTION_DAY" in site.run("list", RETENTION_DAY="7").err


def test_a_dry_run_tells_what_a_backup_would_miss(site: Site) -> None:
    site.backup()
    shutil.rmtree(site.root / "var/invoices")
    ran = site.run("backup", "--dry-run")
    assert ran.code == 3
    assert "var/invoices" in ran.out
    assert site.run("backup", "--dry-run", BACKUP_DIR="/nonexistent").code == 6
