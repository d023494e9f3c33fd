"""What somebody writes while a Kimai in use is replaced: never lost unnoticed, at whatever moment it comes."""

import signal

import pytest

from tests.standin.install import set_fault
from tests.support.in_use import IN_PLACE, LOADING, InUse, phase, refused
from tests.support.killing import Point, kill_at, waiting_at

WRITTEN = "INSERT INTO kimai2_tags (name) VALUES ('written since')"
FOUND = "SELECT COUNT(*) FROM kimai2_tags WHERE name = 'written since'"
SAVED = Point("sidecar.safety", "_read_back", 1, "after")
SIGNING = Point("sidecar.restore_database", "sign_mark")


# ── Before it is dropped ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement",
    [
        WRITTEN,
        "UPDATE kimai2_tags SET name = 'another' WHERE name = 'since the backup'",
        "CREATE TABLE kimai2_later (id INT PRIMARY KEY)",
        "DELETE FROM kimai2_timesheet ORDER BY id LIMIT 1",
    ],
)
def test_a_database_that_was_written_to_after_the_safety_backup_is_not_dropped(in_use: InUse, statement: str) -> None:
    site = in_use.site
    with waiting_at(site, SAVED, "restore", in_use.backup, "--replace") as process:
        site.sql(statement)
    ran = site.ended(process)
    refused(
        ran, "was written to since its safety backup was made", "Stop what writes to it", "All is as it was before."
    )
    assert site.rows() != in_use.now[0]
    assert (site.files(), site.traces()) == (in_use.now[1], [])
    assert "kimai_backup_restore" not in site.objects()
    assert site.run("restore", in_use.backup, "--replace").code == 0
    in_use.assert_new()


def test_who_writes_while_it_is_compared_is_not_told_that_it_is_kept(in_use: InUse) -> None:
    """The tables are locked until they are gone: a writer waits, and gets an error."""
    site = in_use.site
    with (
        waiting_at(site, SIGNING, "restore", in_use.backup, "--replace") as process,
        pytest.raises(Exception, match="Lock wait timeout"),
    ):
        site.sql("SET lock_wait_timeout = 1", WRITTEN)
    assert site.ended(process).code == 0
    in_use.assert_new()


def test_a_killed_one_asks_again_before_it_drops(in_use: InUse) -> None:
    """Until the mark is signed nothing was dropped, and whoever goes on with the old Kimai keeps what he writes."""
    site = in_use.site
    for end in ("--resume", "--rollback"):
        kill_at(site, SIGNING, "restore", in_use.backup, "--replace")
        site.sql(WRITTEN)
        if end == "--resume":
            refused(site.run("restore", "--resume"), "written to since")
        ran = site.run("restore", "--rollback")
        assert ran.code == 0, ran.said
        assert site.sql(FOUND) == [(1,)]
        assert "kimai_backup_restore" not in site.objects()
        site.sql("DELETE FROM kimai2_tags WHERE name = 'written since'")
    assert site.rows() == in_use.now[0]


# ── Before old files are deleted ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["var/data/later.pdf", "var/invoices/since.pdf"])
def test_a_file_that_was_written_after_the_safety_backup_is_not_deleted(in_use: InUse, path: str) -> None:
    site = in_use.site
    written = (site.root / path).read_bytes() + b"since" if (site.root / path).exists() else b"since"
    with waiting_at(site, SAVED, "restore", in_use.backup, "--replace") as process:
        (site.root / path).write_bytes(written)
    ran = site.ended(process)
    refused(ran, f"1 files were written since the safety backup was made, such as {path}", "All is as it was before.")
    assert (site.root / path).read_bytes() == written
    assert site.rows() == in_use.now[0]
    assert site.traces() == []


def test_a_file_that_was_only_touched_is_what_it_was(in_use: InUse) -> None:
    site = in_use.site
    with waiting_at(site, SAVED, "restore", in_use.backup, "--replace") as process:
        (site.root / "var/invoices/since.pdf").touch()
    ran = site.ended(process)
    assert ran.code == 0, ran.said
    in_use.assert_new()


# ── Once it is in place ──────────────────────────────────────────────────────────────────────────────────────


def test_what_was_written_to_the_restored_kimai_is_kept_by_resume_and_not_dropped_unasked(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    site.sql(WRITTEN)
    for arguments in (("--rollback",), ("--rollback", "--dry-run")):
        refused(site.run("restore", *arguments), "written to since", "--resume", "--discard-killed")
    ran = site.run("restore", "--resume")
    assert ran.code == 0, ran.said
    assert site.sql(FOUND) == [(1,)]
    assert site.traces() == []


def test_what_was_written_since_goes_where_that_is_said(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    site.sql(WRITTEN)
    assert site.run("restore", "--rollback", "--discard-killed").code == 0
    in_use.assert_old()


@pytest.mark.parametrize("point", [Point("sidecar.rollback", "drop_unchanged"), Point("sidecar.rollback", "_begin")])
def test_a_rollback_that_is_killed_before_it_drops_asks_again(in_use: InUse, point: Point) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    kill_at(site, point, "restore", "--rollback")
    assert phase(site) == "in place"
    site.sql(WRITTEN)
    refused(site.run("restore", "--rollback"), "written to since")
    assert site.run("restore", "--resume").code == 0
    assert site.sql(FOUND) == [(1,)]


def test_a_rollback_sees_what_is_written_while_it_begins(in_use: InUse) -> None:
    """Between its first look, while all runs on, and its drop."""
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    with waiting_at(site, Point("sidecar.rollback", "_drop_what_was_restored"), "restore", "--rollback") as process:
        site.sql(WRITTEN)
    refused(site.ended(process), "written to since", "--discard-killed")
    assert phase(site) == "in place"
    assert site.run("restore", "--resume").code == 0
    assert site.sql(FOUND) == [(1,)]


@pytest.mark.parametrize(
    "point", [SIGNING._replace(when="after"), Point("sidecar.database.locked", "at_work", 1, "after")]
)
def test_a_kill_before_the_first_drop_leaves_a_database_that_is_nobodys_to_drop(in_use: InUse, point: Point) -> None:
    site = in_use.site
    kill_at(site, point, "restore", in_use.backup, "--replace")
    site.sql(WRITTEN)
    refused(site.run("restore", "--resume"), "written to since")
    ran = site.run("restore", "--rollback")
    assert ran.code == 0, ran.said
    assert site.sql(FOUND) == [(1,)]
    assert site.traces() == []
    assert "kimai_backup_restore" not in site.objects()


def test_a_rollback_that_is_killed_before_its_first_drop_asks_again(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    kill_at(site, Point("sidecar.rollback", "_begin", 1, "after"), "restore", "--rollback")
    site.sql(WRITTEN)
    refused(site.run("restore", "--rollback"), "written to since")
    assert site.run("restore", "--resume").code == 0
    assert site.sql(FOUND) == [(1,)]
    assert site.traces() == []


def test_a_resume_that_fails_keeps_what_was_written_since(in_use: InUse) -> None:
    """As users have worked with the restored Kimai by then."""
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    site.sql(WRITTEN)
    set_fault(site.root, "fail kimai:reload")
    ran = site.run("restore", "--resume")
    assert ran.code == 5, ran.said
    assert "written to since" in ran.errors[0]
    set_fault(site.root, None)
    with waiting_at(site, Point("sidecar.carry_out", "bring_up"), "restore", "--resume") as process:
        process.send_signal(signal.SIGINT)
    ran = site.ended(process)
    assert ran.code == 130, ran.said
    assert "written to since" in ran.errors[0]
    assert phase(site) == "in place"
    assert site.run("restore", "--resume").code == 0
    assert site.sql(FOUND) == [(1,)]
    assert site.traces() == []


# ── A database that isn't the restore's ──────────────────────────────────────────────────────────────────────


def test_a_database_without_the_mark_is_nobodys_to_drop(in_use: InUse) -> None:
    """Somebody mended it by hand, and goes on: neither way may take that away, and it is told as what it is."""
    site = in_use.site
    kill_at(site, LOADING, "restore", in_use.backup, "--replace")
    kill_at(site, Point("sidecar.rollback", "load_anew"), "restore", "--rollback")
    site.lose_database()
    site.sql("CREATE TABLE mended (id INT PRIMARY KEY)", "INSERT INTO mended VALUES (1)")
    rows = site.rows()
    refused(site.run("restore", "--resume"), "written to since", "--rollback")
    ran = site.run("restore", "--rollback")
    assert ran.code == 3, ran.said
    assert "left as it is" in ran.out
    assert "but for what is said above" in ran.out
    assert (site.rows(), site.files()) == (rows, in_use.now[1])


def test_a_database_that_was_made_anew_gets_the_safety_backup(in_use: InUse) -> None:
    kill_at(in_use.site, LOADING, "restore", in_use.backup, "--replace")
    in_use.site.lose_database()
    ran = in_use.site.run("restore", "--rollback")
    assert ran.code == 0, ran.said
    in_use.assert_old()


@pytest.mark.flavours("mariadb")
def test_what_is_given_back_as_another_users_is_told_by_the_exit_code(in_use: InUse) -> None:
    """The definer of an event is a user that ours may not make one for. On MySQL it is refused beforehand."""
    site = in_use.site
    site.sql("CREATE EVENT of_root ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM kimai2_since")
    kill_at(site, LOADING, "restore", in_use.backup, "--replace")
    ran = site.run("restore", "--rollback")
    assert ran.code == 3, ran.said
    assert "not its definer's" in ran.out
    in_use.assert_old()
