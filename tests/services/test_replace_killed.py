"""A restore over a Kimai in use that is killed, and its way back as well: either end is whole, new or old."""

import pytest

from tests.support.in_use import IN_PLACE, LOADING, NOTE, InUse, refused
from tests.support.killing import Point, kill_at

POINTS = {
    "while the safety backup is made": Point("sidecar.making", "publish"),
    "once the safety backup is read back": Point("sidecar.safety", "_read_back", 1, "after"),
    "once the journal says that it begins": Point("sidecar.state", NOTE, 1, "after", "under way"),
    "before the database is marked": Point("sidecar.restore_database", "make_mark"),
    "once the mark is made": Point("sidecar.restore_database", "make_mark", 1, "after"),
    "once the mark is signed": Point("sidecar.restore_database", "sign_mark", 1, "after"),
    "while tables are dropped": Point("sidecar.database.server", "Session.query", 6, "before", "DROP TABLE"),
    "once all is dropped": Point("sidecar.restore_database", "drop_unchanged", 1, "after"),
    "while the dump is loaded": LOADING,
    "while keys are made": Point("sidecar.database.load", "_alter", 3, "before"),
    "before the database is compared": Point("sidecar.restore_database", "_compare"),
    "while files are staged": Point("sidecar.kimai.staging", "Staging.write", 5, "after"),
    "while files are exchanged": Point("sidecar.kimai.setaside", "Exchange._move", 4, "after"),
    "once files are exchanged": Point("sidecar.kimai.staging", "Staging.swap", 1, "after"),
    "once all is in place": Point("sidecar.state", NOTE, 1, "after", "in place"),
    "before Kimai is reloaded": Point("sidecar.carry_out", "bring_up"),
    "before it counts": IN_PLACE,
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_a_kill_is_ended_either_way(in_use: InUse, point: Point) -> None:
    site = in_use.site
    for end, assert_whole in (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new)):
        kill_at(site, point, "restore", in_use.backup, "--replace")
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert_whole()


ONCE_IT_COUNTS = {
    "once the journal says so": Point("sidecar.state", NOTE, 1, "after", "settled"),
    "once the files are settled": Point("sidecar.kimai.staging", "Staging.settle", 1, "after"),
    "once the mark is gone": Point("sidecar.carry_out", "take_back_database", 1, "after"),
    "while old files are deleted": Point("sidecar.kimai.setaside", "delete", 2, "after"),
    "before the journal is gone": Point("sidecar.state", "State.clear_restore_note"),
}


@pytest.mark.parametrize(
    ("point", "then"),
    [*((point, "--resume") for point in ONCE_IT_COUNTS), ("once the journal says so", "backup")]
    + [(point, "restore") for point in list(ONCE_IT_COUNTS)[:2]],
)
def test_a_kill_once_it_counts_leaves_only_tidying_up(in_use: InUse, point: str, then: str) -> None:
    site = in_use.site
    kill_at(site, ONCE_IT_COUNTS[point], "restore", in_use.backup, "--replace")
    refused(site.run("restore", "--rollback"), "had reached its end", "_safety --replace")
    if then == "backup":
        made = site.run("backup")
        assert made.code == 0, made.said
        rows = site.rows()
        rows.pop("kimai_backup_restore", None)  # the next restore's to drop
        assert rows == in_use.then[0]
        return
    command = ("restore", "--resume") if then == "--resume" else ("restore", in_use.backup, "--replace")
    ran = site.run(*command)
    assert ran.code == 0, ran.said
    in_use.assert_new()


ROLLING_BACK = {
    "once the journal says so": Point("sidecar.state", NOTE, 1, "after", "rolling back"),
    "before anything is": Point("sidecar.rollback", "_drop_what_was_restored"),
    "once the files are back": Point("sidecar.rollback", "put_files_back", 1, "after"),
    "while what was restored is dropped": Point("sidecar.database.server", "Session.query", 6, "before", "DROP TABLE"),
    "once that is dropped": Point("sidecar.rollback", "clear", 1, "after"),
    "while the safety backup is loaded": LOADING,
    "once it is loaded": Point("sidecar.rollback", "load_anew", 1, "after"),
    "once the mark is gone": Point("sidecar.rollback", "take_back_database", 1, "after"),
    "before Kimai runs again": Point("sidecar.rollback", "_let_run"),
    "once Kimai runs again": Point("sidecar.rollback", "_let_run", 1, "after"),
}


@pytest.mark.parametrize("point", ROLLING_BACK.values(), ids=ROLLING_BACK)
def test_a_rollback_that_is_killed_is_ended_either_way(in_use: InUse, point: Point) -> None:
    site = in_use.site
    for end, assert_whole in (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new)):
        kill_at(site, LOADING, "restore", in_use.backup, "--replace")
        kill_at(site, point, "restore", "--rollback")
        refused(site.run("backup"), "--rollback")
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert_whole()
