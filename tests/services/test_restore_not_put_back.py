"""A restore that fails and can't take back what it did: no word, and no exit code, says that nothing was touched."""

import json
from typing import Any

from tests.standin.install import set_fault
from tests.support.cli import Site
from tests.support.in_use import LOADING, InUse, go_on
from tests.support.killing import Point, kill_at, waiting_at
from tests.support.proxy import Proxy

STAGING = Point("sidecar.carry_out", "stage_files")
BRINGING_UP = Point("sidecar.carry_out", "bring_up")


def report(site: Site) -> Any:
    newest = max((site.state / "kimai.restores").iterdir())
    return json.loads(newest.read_bytes())


def test_a_refusal_after_the_drop_that_is_not_put_back_is_none(in_use: InUse) -> None:
    site = in_use.site
    # What is written to a folder of Kimai's before it is exchanged would be lost: refused, and put back.
    with waiting_at(site, STAGING, "restore", in_use.backup, "--replace") as process:
        (site.root / "var/data/late.pdf").write_bytes(b"late")
        [safety] = in_use.safeties()
        (site.backups / f"{safety}.zip").rename(site.folder / "away.zip")
    ran = site.ended(process)
    assert ran.code == 10, ran.said
    assert "files were written since the safety backup was made, such as var/data/late.pdf" in ran.errors[0]
    assert "Nor could what was there before be put back" in ran.errors[0]
    assert "--rollback" in ran.errors[0]
    assert (report(site)["outcome"], report(site)["exit_code"]) == ("failed", 10)
    assert site.run("health").code == 1

    (site.folder / "away.zip").rename(site.backups / f"{safety}.zip")
    assert site.run("restore", "--rollback").code == 0
    assert (report(site)["outcome"], report(site)["exit_code"]) == ("rolled back", 0)
    assert site.rows() == in_use.now[0]
    assert (site.root / "var/data/late.pdf").read_bytes() == b"late"


def test_a_rollback_that_the_server_would_not_take_drops_nothing(site: Site) -> None:
    """max_allowed_packet is gone with the server's restart, say."""
    site.sql(
        "CREATE TABLE large (id INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO large VALUES (1, REPEAT('x', 3000000))"
    )
    in_use = go_on(site)
    kill_at(site, LOADING, "restore", in_use.backup, "--replace")
    objects = site.objects()
    before = site.server.run("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    site.server.run("SET GLOBAL max_allowed_packet = 1048576")
    try:
        ran = site.run("restore", "--rollback")
        assert ran.code == 3, ran.said
        assert "max_allowed_packet" in ran.errors[0]
        assert "restore --rollback" in ran.errors[0]
        assert site.objects() == objects
    finally:
        site.server.run(f"SET GLOBAL max_allowed_packet = {before}")
    assert site.run("restore", "--rollback").code == 0
    in_use.assert_old()


def test_a_failure_that_is_taken_back_says_so(site: Site) -> None:
    made = site.backup()
    site.lose_all()
    with waiting_at(site, BRINGING_UP, "restore", made) as process:
        site.sql("DROP TABLE migration_versions")
    ran = site.ended(process)
    assert ran.code in (5, 8), ran.said
    assert "All that it had made is taken back." in ran.errors[0]
    assert site.objects() == []


def test_a_failure_that_cannot_be_taken_back_says_what_to_do(site: Site) -> None:
    with Proxy(site.server.host, site.server.port) as line:
        site.port = line.port
        site.point_env_at(site.url)
        made = site.backup()
        site.lose_all()
        set_fault(site.root, "fail kimai:user:list")
        with waiting_at(site, BRINGING_UP, "restore", made) as process:
            line.cut_after = 0
        ran = site.ended(process)
        assert ran.code == 5, ran.said
        assert "Not all that it had made could be taken back." in ran.errors[0]
        assert f"Run `kimai-backup restore {made}` again" in ran.errors[0]
        assert (report(site)["outcome"], report(site)["exit_code"]) == ("failed", 5)
    assert site.objects()
    assert site.run("health").code == 1
