"""A database server, or a session of it, that dies while a Kimai in use is replaced: both ways lead on."""

from pathlib import Path

import pytest

from tests.services.conftest import running
from tests.support.cli import make_site, poll
from tests.support.in_use import LOADING, InUse, go_on, phase
from tests.support.killing import Point, kill_at, waiting_at

SAVING = Point("sidecar.making", "publish")


@pytest.mark.parametrize("end", ["--rollback", "--resume"])
def test_a_server_that_dies_in_the_load_leaves_a_journal_and_both_ways_lead_on(
    tmp_path: Path, flavour: str, end: str
) -> None:
    with running(flavour, "--innodb-flush-log-at-trx-commit=1") as server:
        in_use = go_on(make_site(tmp_path, server, timesheets=5000))
        site = in_use.site
        process = site.start("restore", in_use.backup, "--replace")
        poll(lambda: phase(site) == "under way" and "kimai2_since" not in site.objects(), "the old tables go")
        server.kill()
        ran = site.ended(process)
        assert ran.code == 5, ran.said
        assert "--resume" in ran.errors[0]
        assert "--rollback" in ran.errors[0]
        assert site.run("restore", end).code == 5
        server.start_again()
        assert site.run("backup").code == 8
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        (in_use.assert_old if end == "--rollback" else in_use.assert_new)()
        site.end()


DYING = {
    "while it is saved": (SAVING, (), None),
    "while it is dropped": (Point("sidecar.restore_database", "sign_mark", 1, "after"), (), "under way"),
    "while it is compared": (Point("sidecar.restore_database", "_compare"), (), "under way"),
    "once it is in place": (Point("sidecar.carry_out", "start"), (), "in place"),
    "while it is rolled back": (Point("sidecar.rollback", "load_anew"), ("--rollback",), "rolling back"),
}


@pytest.mark.parametrize("name", DYING)
def test_a_server_that_dies_leaves_both_ways_open(tmp_path: Path, flavour: str, name: str) -> None:
    point, again, left = DYING[name]
    with running(flavour, "--innodb-flush-log-at-trx-commit=1") as server:
        in_use = go_on(make_site(tmp_path, server, timesheets=50))
        site = in_use.site
        for number, end in enumerate(("--rollback", "--resume")):
            if again:
                kill_at(site, LOADING, "restore", in_use.backup, "--replace")
            asked = again or (in_use.backup, "--replace")
            with waiting_at(site, point, "restore", *asked) as process:
                server.kill()
            ran = site.ended(process)
            assert ran.code == 5, ran.said
            assert phase(site) == left
            server.start_again()
            if left is None:
                in_use.assert_old()
                continue
            assert site.run("backup").code == 8
            ran = site.run("restore", end, *(["--discard-killed"] if end == "--rollback" else []))
            assert ran.code == 0, ran.said
            (in_use.assert_new if number else in_use.assert_old)()
        site.end()


@pytest.mark.parametrize("point", [Point("sidecar.restore_database", "sign_mark"), LOADING])
def test_a_session_that_is_killed_is_rolled_back_at_once(in_use: InUse, point: Point) -> None:
    """By an administrator at the server, say: the tool is there still, and has the server."""
    site = in_use.site
    with waiting_at(site, point, "restore", in_use.backup, "--replace") as process:
        for number, *_ in site.server.run(f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{site.user}'"):
            site.server.run(f"KILL {number}")
    ran = site.ended(process)
    assert ran.code == 5, ran.said
    assert "All is as it was before." in ran.errors[0]
    in_use.assert_old()
