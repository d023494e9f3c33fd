"""The whole road by the commands: backup, list, show, verify, everything lost, restore, and all is as it was."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import pytest

from sidecar import manifest
from tests.standin.install import set_fault
from tests.support.cli import Site


def test_everything_lost_and_restored(site: Site) -> None:
    site.remember()
    made = site.backup()
    assert site.shelf() == [f"{made}.json", f"{made}.zip"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in site.backups.iterdir()} == {0o600}

    listed = site.run("list", "--json").json()
    assert [each["id"] for each in listed] == [made]
    wanted = {
        "instance": "kimai",
        "kimai_version": "2.66.0",
        "targets": ["local"],
        "encrypted": False,
        "proven_at": None,
    }
    assert wanted.items() <= listed[0].items()
    assert listed[0]["size"] == (site.backups / f"{made}.zip").stat().st_size
    assert listed[0]["created_at"].replace("-", "").replace(":", "") in made
    assert made in site.run("list").out

    shown = site.run("show", "latest", "--json")
    assert shown.out.encode() == (site.backups / f"{made}.json").read_bytes()
    jsonschema.validate(shown.json(), manifest.schema())
    assert "kimai2_timesheet" in site.run("show", made[:-3]).out

    verified = site.run("verify", "--json").json()
    assert [(each["id"], each["whole"]) for each in verified] == [(made, True)]

    site.lose_all()
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert f"{made} is restored" in ran.out
    site.assert_restored()
    # Running Kimai is the proof that code, database and files fit; the next backup finds what the first one found.
    again = site.backup()
    first, second = (json.loads((site.backups / f"{each}.json").read_bytes()) for each in (made, again))
    for each in (first, second):
        each["files"] = [file for file in each["files"] if file["path"] not in ("container.env", "config", "var")]
    assert second["database"]["tables"] == first["database"]["tables"]
    assert second["files"] == first["files"]


def test_only_the_database_or_only_the_files(site: Site) -> None:
    site.remember()
    site.backup()
    site.lose_all()
    lost = site.files()
    ran = site.run("restore", "latest", "--only", "database")
    assert ran.code == 0, ran.said
    assert site.rows() == site.remembered[0]
    assert site.files() == lost
    # The database is in use now, which files alone don't mind.
    ran = site.run("restore", "latest", "--only", "files")
    assert ran.code == 0, ran.said
    site.assert_restored()


def test_a_dry_run_changes_nothing(site: Site) -> None:
    ran = site.run("backup", "--dry-run")
    assert ran.code == 0, ran.said
    assert "16 tables" in ran.out
    assert site.shelf() == []
    site.backup()
    site.lose_all()
    before, shelf = site.files(), site.shelf()
    ran = site.run("restore", "latest", "--dry-run")
    assert ran.code == 0, ran.said
    assert "would load database.sql" in ran.out
    assert site.objects() == []
    assert (site.files(), site.shelf(), site.traces()) == (before, shelf, [])


def test_a_prune_does_what_its_dry_run_says_and_leaves_strangers_alone(site: Site) -> None:
    made = site.backup()
    text = (site.backups / f"{made}.json").read_bytes()
    for day in ("20200101", "20200102", "20200103"):
        old = f"{made[:-16]}{day}T010203Z"
        shutil.copy(site.backups / f"{made}.zip", site.backups / f"{old}.zip")
        (site.backups / f"{old}.json").write_bytes(text.replace(made.encode(), old.encode()))
    strangers = {
        "holiday.zip",
        "kimai_other_2.66.0_20200101T010203Z.zip",
        "kimai_other_2.66.0_20200101T010203Z.json",
        "a.part",
    }
    orphan = f"{made[:-16]}20190101T010203Z.zip"
    for name in (*strangers, orphan):
        (site.backups / name).write_bytes(b"not ours")
    settings = {"RETENTION_DAYS": "30", "RETENTION_MIN_KEEP": "2"}
    before = site.shelf()
    rehearsed = site.run("prune", "--dry-run", "--json", **settings)
    assert rehearsed.code == 0
    assert site.shelf() == before
    assert orphan in site.run("prune", "--dry-run", **settings).out
    done = site.run("prune", "--json", **settings)
    assert done.code == 0
    plan, deed = rehearsed.json(), done.json()
    assert [each["id"] for each in deed if each["deleted"]] == [each["id"] for each in plan if not each["keep"]]
    assert [{**each, "deleted": None} for each in deed] == [{**each, "deleted": None} for each in plan]
    kept = [made, f"{made[:-16]}20200103T010203Z"]
    assert sorted(site.shelf()) == sorted(
        [*strangers, orphan, *(f"{id_}{end}" for id_ in kept for end in (".zip", ".json"))]
    )
    # The listing names what is no whole backup, and doesn't show it.
    ran = site.run("list", "--json")
    assert [each["id"] for each in ran.json()] == kept
    assert orphan in ran.err
    assert site.run("verify").code == 7


def test_a_dry_backup_says_what_its_prune_would_do_and_does(site: Site) -> None:
    made = site.backup()
    text = (site.backups / f"{made}.json").read_bytes()
    old = [f"{made[:-16]}2020010{day}T010203Z" for day in (1, 2, 3)]
    for each in old:
        shutil.copy(site.backups / f"{made}.zip", site.backups / f"{each}.zip")
        (site.backups / f"{each}.json").write_bytes(text.replace(made.encode(), each.encode()))
    before = site.shelf()
    # The backup to come will be among the newest three, so the oldest two have to go.
    settings = {"RETENTION_DAYS": "30", "RETENTION_MIN_KEEP": "3"}
    ran = site.run("backup", "--dry-run", **settings)
    assert ran.code == 0, ran.said
    said = {line.split()[0]: line for line in ran.out.splitlines() if line.startswith("kimai_")}
    assert sorted(said) == sorted([made, *old])
    assert [name for name in sorted(said) if "would delete" in said[name]] == old[:2]
    assert "among the newest 3" in said[old[2]]
    assert "would delete" not in site.run("backup", "--dry-run", "--no-prune", **settings).out
    shutil.rmtree(site.root / "var/invoices")
    ran = site.run("backup", "--dry-run", **settings)
    assert ran.code == 3
    assert "nothing would be pruned: this backup lacks what the one before it had: var/invoices" in ran.out
    assert "would delete" not in ran.out
    assert site.shelf() == before
    assert site.run("backup", **settings).code == 3
    assert set(before) <= set(site.shelf())
    # What is missing once more is no news: the next one prunes, and its dry run says so.
    assert "would delete" in site.run("backup", "--dry-run", **settings).out


def test_ids_their_beginnings_and_other_instances(site: Site) -> None:
    first = site.backup()
    second = site.backup(BACKUP_INSTANCE="second")
    third = site.backup()
    assert site.run("show", first[:-1]).code == (2 if third.startswith(first[:-1]) else 0)
    ran = site.run("show", "kimai_kimai")
    assert ran.code == 2
    assert "2 backups start with kimai_kimai" in ran.errors[0]
    ran = site.run("restore", "20991231")
    assert ran.code == 10
    assert first in ran.errors[0]
    assert "second" in ran.errors[0]
    assert site.run("show", second).code == 10
    assert site.run("show", second, "--instance", "second").code == 0
    assert [each["id"] for each in site.run("list", "--json", "--instance", "second").json()] == [second]
    nothing = site.run("list", BACKUP_INSTANCE="third")
    assert nothing.code == 0
    assert "kimai, second" in nothing.out
    assert site.run("restore", "latest", BACKUP_INSTANCE="third").code == 10
    assert site.run("list", "--instance", "No Such").code == 2


def test_a_zip_taken_elsewhere_is_restored_without_its_manifest(site: Site) -> None:
    site.remember()
    made = site.backup()
    elsewhere = site.folder / "usb stick" / "backup of kimai.zip"
    elsewhere.parent.mkdir()
    shutil.move(site.backups / f"{made}.zip", elsewhere)
    (site.backups / f"{made}.json").unlink()
    site.lose_all()
    ran = site.run("restore", str(elsewhere))
    assert ran.code == 0, ran.said
    site.assert_restored()
    site.lose_database()
    assert site.run("restore", "backup of kimai.zip").code == 10
    assert site.run("restore", str(elsewhere.parent / "no.zip")).code == 10


def test_a_restore_by_hand_needs_unzip_and_a_client_alone(site: Site) -> None:
    site.remember()
    made = site.backup()
    site.lose_all()
    by_hand = site.folder / "by-hand"
    with zipfile.ZipFile(site.backups / f"{made}.zip") as archive:
        archive.extractall(by_hand)
    site.server.native_load(site.database, (by_hand / "database.sql").read_bytes())
    assert site.rows() == site.remembered[0]
    for name, (mode, _, _, content, *_) in site.remembered[1].items():
        if name.startswith(("var/data/", "var/plugins", "config/packages/local")) and stat.S_ISREG(mode):
            assert (by_hand / name).read_bytes() == content
    assert (by_hand / "container.env").exists()


def test_the_url_in_force_stays_and_the_backups_env_is_laid_beside_it(site: Site) -> None:
    site.backup()
    env = (site.root / ".env").read_bytes()
    site.lose_all()
    changed = env.replace(b"APP_SECRET=\n", b"APP_SECRET=another\n")
    (site.root / ".env").write_bytes(changed)
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert ".env.from-backup" in ran.said
    assert (site.root / ".env").read_bytes() == changed
    assert (site.root / ".env.from-backup").read_bytes() == env


def test_an_env_that_names_another_database_is_refused(site: Site) -> None:
    site.backup()
    site.lose_all()
    site.point_env_at("mysql://kimai:x@10.0.0.1:3306/other")
    ran = site.run("restore", "latest", DATABASE_URL=site.url)
    assert ran.code == 8
    assert "Make both name the same database" in ran.errors[0]
    assert site.objects() == []


def test_the_url_is_kimais_own_and_env_local_wins(site: Site) -> None:
    (site.root / ".env.local").write_text((site.root / ".env").read_text())
    site.point_env_at("mysql://nobody:nothing@127.0.0.1:1/nowhere")
    made = site.backup()
    assert ".env.local" in {file["path"] for file in site.run("show", made, "--json").json()["files"]}
    (site.root / ".env.local").unlink()
    (site.root / ".env").unlink()
    ran = site.run("backup")
    assert ran.code == 4
    assert "there is no DATABASE_URL" in ran.errors[0]


# ── The console runs as Kimai's own user ─────────────────────────────────────────────────────────────────────

CONSOLE = """#!/bin/sh
echo "$(id -u) $1" >> "$(dirname "$0")/../var/log/console"
case $1 in
  kimai:version) echo 2.66.0 ;;
  kimai:reload) mkdir -p "$(dirname "$0")/../var/cache/prod" && echo "[OK] Kimai config was reloaded" ;;
  doctrine:migrations:up-to-date) echo "Up-to-date!" ;;
esac
"""


def test_root_lets_the_owner_of_var_run_the_console(site: Site) -> None:
    """Else its cache would be root's, and the web server could not write it. Not root: as ourselves."""
    owner = 33 if os.geteuid() == 0 else os.geteuid()
    console = site.root / "bin/console"
    console.write_text(CONSOLE)
    for folder in (site.folder, *site.folder.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    for path in (site.root / "var").rglob("*"):
        os.chown(path, owner, -1, follow_symlinks=False)
    os.chown(site.root / "var", owner, -1)
    site.backup()
    site.lose_database()
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    told = (site.root / "var/log/console").read_text().splitlines()
    assert {line.split()[0] for line in told} == {str(owner)}
    assert {line.split()[1] for line in told} >= {"kimai:version", "kimai:reload", "kimai:user:list"}
    assert (site.root / "var/cache/prod").stat().st_uid == owner


# ── What Kimai says after a restore ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("version", "said"), [("Version20200101000000", "older"), ("Version20991231000000", "newer")])
def test_a_database_that_does_not_fit_the_code_is_taken_back(site: Site, version: str, said: str) -> None:
    """Where what the code knows can't be seen before. For a newer one Kimai prints an error and exits with 0."""
    shutil.rmtree(site.root / "migrations")
    site.sql(f"UPDATE migration_versions SET version = 'DoctrineMigrations\\\\{version}'")
    site.backup()
    site.lose_all()
    before = site.files()
    ran = site.run("restore", "latest")
    assert ran.code == 8, ran.said
    assert f"{said} database" in ran.errors[0]
    assert site.objects() == []
    assert (site.files(), site.traces()) == (before, [])


@pytest.mark.parametrize(
    "fault", ["fail kimai:reload", "nonsense doctrine:migrations:up-to-date", "flood kimai:user:list"]
)
def test_a_kimai_that_does_not_come_up_is_put_back(site: Site, fault: str) -> None:
    site.backup()
    site.lose_all()
    before = site.files()
    set_fault(site.root, fault)
    ran = site.run("restore", "latest")
    assert ran.code == 5, ran.said
    assert fault.split()[1] in ran.errors[0]
    assert len(ran.err) < 6000
    assert site.objects() == []
    assert (site.files(), site.traces()) == (before, [])


def test_another_version_of_kimai_is_refused_by_name(site: Site) -> None:
    site.backup()
    site.lose_all()
    standin = site.root / "bin/standin.json"
    standin.write_text(standin.read_text().replace("2.66.0", "2.65.0"))
    before = site.files()
    ran = site.run("restore", "latest")
    assert ran.code == 8
    assert "Install Kimai 2.66.0 first (git tag 2.66.0, image tag apache-2.66.0)" in ran.errors[0]
    set_fault(site.root, "fail")
    ran = site.run("restore", "latest")
    assert ran.code == 8
    assert "nobody knows whether the backup fits it" in ran.errors[0]
    assert site.objects() == []
    set_fault(site.root, None)
    assert site.files() == before


# ── Secrets, and the module's own name ───────────────────────────────────────────────────────────────────────


def test_no_process_shows_the_password_in_its_arguments(site: Site) -> None:
    process = site.start("backup", DATABASE_URL=site.url)
    seen = set()
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(site.root) in words or folder.name == str(process.pid):
                seen.add(words)
        time.sleep(0.002)
    assert site.ended(process).code == 0
    assert any(b"kimai:version" in words for words in seen)
    for secret in site.secrets:
        assert not any(secret.encode() in words for words in seen)
        for name in site.shelf():
            if name.endswith(".json"):
                assert secret.encode() not in (site.backups / name).read_bytes()


def test_the_module_is_the_command(site: Site) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "sidecar", "list", "--json"], env=site.environment, capture_output=True, check=True
    )
    assert json.loads(ran.stdout) == []


def test_debug_shows_a_traceback_and_still_no_password(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "backup"],
        env=site.environment | {"DATABASE_URL": site.url.replace("?", "x?"), "LOG_LEVEL": "debug"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 5
    assert b"Traceback" in done.stderr
    for secret in site.secrets:
        assert secret.encode() not in done.stderr
