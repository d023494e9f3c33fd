"""A restore over a Kimai in use that is cut short: what every command says, of any backup, with S3 alone."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.cli import poll, without_rights
from tests.support.in_use import IN_PLACE, LOADING, InUse, phase, refused
from tests.support.killing import Point, kill_at, waiting_at
from tests.support.s3 import keys_in, settings
from tests.support.seaweed import Store
from tests.support.zips_of_others import files_of, script_zip

SAVING = Point("sidecar.making", "publish")


# ── Every command says so, in each phase ─────────────────────────────────────────────────────────────────────

PHASES = {
    "begun": SAVING,
    "under way": LOADING,
    "in place": IN_PLACE,
    "rolling back": None,
}


def say_so(in_use: InUse) -> None:
    """Until it is ended, every command says that one was cut short, and none makes it worse."""
    site = in_use.site
    rows, files, backups = site.rows(), site.files(), site.shelf()
    ours = [("backup",), ("backup", "--dry-run"), ("prune",), ("restore", "latest"), ("restore", "latest", "--replace")]
    for command in ours:
        refused(site.run(*command), "cut short", "--resume", "--rollback")
    health = site.run("health")
    assert health.code == 1
    assert "--rollback" in health.out
    for command in (("list",), ("show",), ("verify",), ("config",), ("drill",)):
        assert "--rollback" in site.run(*command).err
    lock = site.state / "kimai.daemon.lock"
    daemon = site.start("run", BACKUP_SCHEDULE="0 0 1 1 *")
    poll(lambda: lock.exists() and b"process" in lock.read_bytes(), "it has begun to wait")
    daemon.terminate()
    assert "--rollback" in site.ended(daemon).err
    assert "--rollback" in site.run("doctor").said
    for end in ("--resume", "--rollback"):
        dry = site.run("restore", end, "--dry-run")
        assert dry.code == 0, dry.said
        assert "would" in dry.out
    assert (site.rows(), site.files(), site.shelf()) == (rows, files, backups)


@pytest.mark.parametrize("name", PHASES)
def test_every_command_says_so(in_use: InUse, name: str) -> None:
    site = in_use.site
    kill_at(site, PHASES[name] or LOADING, "restore", in_use.backup, "--replace")
    if name == "rolling back":
        kill_at(site, LOADING, "restore", "--rollback")
    assert phase(site) == name
    say_so(in_use)
    assert site.run("restore", "--rollback").code == 0
    in_use.assert_old()
    for end in ("--resume", "--rollback"):
        refused(site.run("restore", end), "no restore over an instance in use was cut short")
    assert site.run("backup").code == 0


def test_one_that_is_under_way_is_not_told_as_cut_short(in_use: InUse) -> None:
    site = in_use.site
    with waiting_at(site, LOADING, "restore", in_use.backup, "--replace") as process:
        assert "cut short" not in site.run("list").err
        assert site.run("backup").code == 9
    assert site.ended(process).code == 0
    in_use.assert_new()


def test_who_may_not_look_into_the_state_folder_sees_the_list_all_the_same(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, LOADING, "restore", in_use.backup, "--replace")
    os.chown(site.state, 12345, 12345)
    ran = site.run("list", prefix=without_rights())
    os.chown(site.state, 0, 0)
    assert ran.code == 0, ran.said
    assert in_use.backup in ran.out
    assert "nobody knows whether a restore was cut short" in ran.err
    other = site.run("list", BACKUP_STATE_DIR=str(site.folder / "no state"))
    assert other.code == 0, other.said
    assert not (site.folder / "no state").exists()
    assert site.run("restore", "--rollback").code == 0
    in_use.assert_old()


def test_before_it_is_saved_nothing_was_touched_and_that_is_said(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, SAVING, "restore", in_use.backup, "--replace")
    refused(site.run("backup"), "before it had touched anything", "--resume", "--rollback")
    in_use.site.remembered = in_use.now
    assert (site.rows(), site.files()) == in_use.now
    assert site.run("restore", "--resume").code == 0
    in_use.assert_new()


# ── Another instance's, a part, a zip of others, S3 alone ────────────────────────────────────────────────────


@pytest.mark.parametrize("point", [SAVING, LOADING, IN_PLACE])
def test_another_instances_backup_needs_no_instance_to_be_ended(in_use: InUse, point: Point) -> None:
    site = in_use.site
    backup = site.backup(BACKUP_INSTANCE="other")
    then = (site.rows(), site.files())
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('since the other backup')")
    in_use = in_use._replace(then=then, now=(site.rows(), site.files()))
    for end, assert_whole in (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new)):
        kill_at(site, point, "restore", backup, "--replace", "--instance", "other")
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert_whole()


@pytest.mark.parametrize("end", ["--rollback", "--resume"])
def test_the_database_alone_is_ended_as_what_it_was_begun_as(in_use: InUse, end: str) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace", "--only", "database")
    assert site.run("restore", end).code == 0
    assert (site.rows(), site.files()) == ((in_use.now if end == "--rollback" else in_use.then)[0], in_use.now[1])
    assert site.traces() == []


@pytest.mark.parametrize("point", [LOADING, IN_PLACE])
def test_a_zip_of_others_is_ended_either_way(in_use: InUse, point: Point) -> None:
    site = in_use.site
    path = script_zip(site)
    rows, files = site.rows(), files_of(site)
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('since the zip')")
    in_use = in_use._replace(now=(site.rows(), site.files()))
    asked = ("restore", str(path), "--replace", "--accept-unknown-version")
    kill_at(site, point, *asked)
    if point is IN_PLACE:
        refused(site.run("restore", "--rollback"), "nobody can tell", "--discard-killed")
    assert site.run("restore", "--rollback", "--discard-killed").code == 0
    in_use.assert_old()
    kill_at(site, point, *asked)
    if point is LOADING:
        path.rename(site.folder / "away.zip")
        path.write_bytes((site.folder / "away.zip").read_bytes()[:-100])
        assert site.run("restore", "--resume").code == 7
        (site.folder / "away.zip").rename(path)
    ran = site.run("restore", "--resume")
    assert ran.code == 0, ran.said
    assert (site.rows(), files_of(site)) == (rows, files)
    assert site.traces() == []


def test_a_safety_backup_on_s3_alone_is_found_there(in_use: InUse, s3_store: Store, tmp_path: Path) -> None:
    site, bucket = in_use.site, s3_store.bucket()
    site.extra |= settings(s3_store, bucket, tmp_path) | {"BACKUP_DIR": ""}
    site.sql("DELETE FROM kimai2_tags WHERE name = 'since the backup'")
    assert site.run("backup").code == 0
    backup = max(key for key in keys_in(s3_store, bucket) if key.endswith(".zip")).removesuffix(".zip")
    then = (site.rows(), site.files())
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('since the backup')")
    now = (site.rows(), site.files())
    for end, remembered in (("--rollback", now), ("--resume", then)):
        kill_at(site, LOADING, "restore", backup, "--replace")
        assert any("_safety" in key for key in keys_in(s3_store, bucket))
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        site.remembered = remembered
        site.assert_restored()


# ── Once more, with what is left ─────────────────────────────────────────────────────────────────────────────


def test_what_is_in_place_is_brought_to_its_end_without_the_backup(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    for path in site.backups.glob(f"{in_use.backup}*"):
        path.rename(site.folder / path.name)
    ran = site.run("restore", "--resume")
    assert ran.code == 0, ran.said
    assert "nobody knows whether the APP_SECRET in force is the backup's" in ran.out
    in_use.assert_new()


def test_without_the_safety_backup_it_is_told_what_is_left_to_do(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, LOADING, "restore", in_use.backup, "--replace")
    [safety] = in_use.safeties()
    for path in site.backups.glob(f"{safety}*"):
        path.rename(site.folder / path.name)
    for end in ("--resume", "--rollback"):
        ran = site.run("restore", end)
        assert ran.code == 10, ran.said
        assert "If it is lost for good: empty the database, remove" in ran.errors[0]


def test_nobody_is_told_to_empty_a_database_that_is_whole(in_use: InUse) -> None:
    """The safety backup is lost, but nothing was dropped, or all is in place."""
    site = in_use.site
    kill_at(site, Point("sidecar.restore_database", "sign_mark"), "restore", in_use.backup, "--replace")
    [safety] = in_use.safeties()
    for path in site.backups.glob(f"{safety}*"):
        path.unlink()
    ran = site.run("restore", "--resume")
    assert ran.code == 10, ran.said
    assert "lost for good: `kimai-backup restore --rollback` leaves all as it is" in ran.errors[0]
    assert site.run("restore", "--rollback").code == 0
    in_use.assert_old()
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    for path in site.backups.glob("*_safety*"):
        path.unlink()
    ran = site.run("restore", "--rollback")
    assert ran.code == 10, ran.said
    assert "lost for good: `kimai-backup restore --resume` keeps what is" in ran.errors[0]
    assert site.run("restore", "--resume").code == 0
    in_use.assert_new()


def test_settings_that_were_laid_beside_are_in_nobodys_way(in_use: InUse) -> None:
    """`.env.from-backup` is part of no backup, and the next restore exchanges it."""
    site = in_use.site
    with (site.root / ".env").open("a") as file:
        file.write("MAILER_FROM=since@example.com\n")
    for _ in range(2):
        ran = site.run("restore", in_use.backup, "--replace")
        assert ran.code == 0, ran.said
        assert (site.root / ".env.from-backup").exists()


def test_who_thinks_better_of_it_before_anything_is_touched_leaves_no_journal(in_use: InUse) -> None:
    site = in_use.site
    with waiting_at(site, SAVING, "restore", in_use.backup, "--replace") as process:
        process.send_signal(signal.SIGINT)
    ran = site.ended(process)
    assert ran.code == 130, ran.said
    assert phase(site) is None
    in_use.assert_old()
    assert site.run("backup").code == 0


def test_a_half_restored_database_is_no_backup_by_another_state_folder_either(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, LOADING, "restore", in_use.backup, "--replace")
    for asked in (("backup",), ("backup", "--dry-run")):
        ran = site.run(*asked, BACKUP_STATE_DIR=str(site.folder / "other"))
        refused(ran, "bears the mark of a restore whose journal is not in BACKUP_STATE_DIR")
    assert site.run("restore", "--rollback").code == 0
    in_use.assert_old()


# ── What it leaves to be read ────────────────────────────────────────────────────────────────────────────────


def test_a_web_server_that_nothing_stops_is_told_of_beforehand(in_use: InUse) -> None:
    ran = in_use.site.run("restore", in_use.backup, "--replace", "--dry-run")
    assert ran.code == 0, ran.said
    assert "stop its web server" in ran.out


def test_a_resumed_one_tells_where_the_old_instance_is_kept(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    ran = site.run("restore", "--resume")
    assert ran.code == 0, ran.said
    assert in_use.safeties()[0] in ran.out
    report = json.loads(max((site.state / "kimai.restores").iterdir()).read_bytes())
    assert (report["outcome"], report["exit_code"]) == ("restored", 0)
