"""A drill proves a backup by restoring it elsewhere, on each flavour of server, leaves nothing and touches nothing."""

import hashlib
import os
import re
import signal

import pytest

from tests.services.conftest import running
from tests.support.cli import Site, poll
from tests.support.drill import proof, scratch_user, scratches


def test_a_whole_backup_is_proven(site: Site, scratch: str) -> None:
    site.remember()
    made = site.backup()
    ran = site.run("drill")
    assert ran.code == 0, ran.said
    assert f"{made}, read from local: " in ran.out
    assert "proven: equal, row for row" in ran.out
    assert site.shelf() == [f"{made}.json", f"{made}.proof.json", f"{made}.zip"]
    found = proof(site, made)
    rows = {table["name"]: table["rows"] for table in found["tables"]}  # type: ignore[attr-defined]
    counted = {name: count for name, (count, _) in site.rows().items()}
    assert rows == counted
    assert found["matched"] is True
    assert found["definitions_compared"] is True
    assert found["archive"]["sha256"] == hashlib.sha256((site.backups / f"{made}.zip").read_bytes()).hexdigest()  # type: ignore[index]
    [listed] = site.run("list", "--json").json()
    assert listed["proven"] is True
    assert listed["proven_at"] is not None
    assert scratches(site.server, scratch) == []
    # Kimai's own database is as it was.
    site.assert_restored()


def test_a_backup_is_proven_on_a_server_of_its_own_flavour(site: Site, scratch: str, flavour: str) -> None:
    site.sql("CREATE TABLE odd (id INT PRIMARY KEY, f FLOAT, d DATETIME(6), b BLOB, t TEXT CHARACTER SET latin1)")
    site.sql("INSERT INTO odd VALUES (2, 0, NULL, '', '')")
    site.sql("INSERT INTO odd VALUES (1, 16777216, '2026-10-25 02:30:00.000001', X'00FF0D0A', 'ümlaut')")
    site.sql("CREATE VIEW seen AS SELECT id FROM odd")
    made = site.backup()
    ran = site.run("drill")
    assert ran.code == 0, ran.said
    assert scratches(site.server, scratch) == []
    found = proof(site, made)
    assert str(found["drill_server"]).startswith(f"{flavour} ")
    assert found["definitions_compared"] is True
    assert found["differences"] == []
    assert {table["name"]: table["rows"] for table in found["tables"]}["odd"] == 2  # type: ignore[attr-defined]


def test_a_killed_drill_leaves_a_database_that_the_next_one_drops(site: Site, scratch: str) -> None:
    site.backup()
    process = site.start("drill")
    poll(lambda: scratches(site.server, scratch), "a scratch database")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert len(scratches(site.server, scratch)) == 1

    # The server notices at its own time that the client is gone.
    def is_swept() -> bool:
        ran = site.run("drill")
        assert ran.code == 0, ran.said
        return scratches(site.server, scratch) == []

    poll(is_swept, "the killed drill's database is dropped")


def test_another_drill_in_progress_is_left_alone(site: Site, scratch: str) -> None:
    """On a server that two instances share."""
    site.backup()
    name = f"{scratch}_drill_0123456789ab"
    site.server.run(f"CREATE DATABASE {name}")
    holder = site.server.admin()
    with holder.cursor() as cursor:
        cursor.execute(f"SELECT GET_LOCK('{name}', 0)")
        assert site.run("drill").code == 0
        assert scratches(site.server, scratch) == [name]
    holder.close()
    poll(lambda: site.run("drill").code == 0 and scratches(site.server, scratch) == [], "it is dropped")


def test_databases_of_others_are_never_touched(site: Site, scratch: str) -> None:
    site.backup()
    others = [f"{scratch}_drill_mine", f"{scratch}_drill_0123456789abc", f"{scratch}x_drill_0123456789ab"]
    try:
        for name in others:
            site.server.run(f"CREATE DATABASE {name}")
        assert site.run("drill").code == 0
        assert scratches(site.server, scratch) == sorted(others)
    finally:
        for name in others:
            site.server.run(f"DROP DATABASE {name}")


def test_a_user_who_may_make_no_database_is_told_the_grant(site: Site, scratch: str) -> None:
    site.backup()
    ran = site.run("drill", DRILL_DATABASE_URL=site.url.rpartition("/")[0] + "/elsewhere")
    assert ran.code == 4, ran.said
    assert r"GRANT ALL PRIVILEGES ON `elsewhere\_drill\_%`.* TO" in ran.errors[0]
    assert "proof" not in "".join(site.shelf())


def test_events_are_never_enabled_in_a_drill(site: Site, scratch: str) -> None:
    site.sql("CREATE EVENT ticking ON SCHEDULE EVERY 1 DAY DO DELETE FROM kimai2_tags")
    site.backup()
    site.server.run("SET GLOBAL log_output='TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log=ON")
    try:
        ran = site.run("drill")
    finally:
        site.server.run("SET GLOBAL general_log=OFF")
    assert ran.code == 0, ran.said
    said = site.server.run(
        f"SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE user_host LIKE '{scratch}%'"
    )
    statements = [str(text).upper() for (text,) in said]
    created = [text for text in statements if re.match(r"CREATE\b.* EVENT\b", text)]
    assert created
    assert all(re.search(r"PRESERVE\s+DISABLE\b", text) for text in created)
    assert not [text for text in statements if re.match(r"ALTER\b.* EVENT\b", text)]


@pytest.mark.parametrize("right", ["INSERT", "SELECT", "INDEX"])
def test_a_right_that_the_scratch_user_lacks_speaks_of_no_backup(site: Site, scratch: str, right: str) -> None:
    made = site.backup()
    assert site.run("drill").code == 0
    site.server.run(f"REVOKE {right} ON `{scratch}\\_drill\\_%`.* FROM '{scratch}'@'%'")
    ran = site.run("drill")
    assert ran.code == 8, ran.said
    assert f"lacks {right}" in ran.errors[0]
    # The proof that there was still holds.
    assert site.shelf() == [f"{made}.json", f"{made}.proof.json", f"{made}.zip"]
    assert scratches(site.server, scratch) == []


def test_what_the_scratch_server_refuses_by_itself_speaks_of_no_backup(site: Site, scratch: str, flavour: str) -> None:
    """Here triggers, where it writes a binary log and the user is no administrator; a full disk is answered alike."""
    site.sql("CREATE TRIGGER counted BEFORE INSERT ON kimai2_tags FOR EACH ROW SET NEW.name = TRIM(NEW.name)")
    made = site.backup()
    binary_log = ("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
    with running(flavour, *binary_log) as other, scratch_user(other) as (prefix, url):
        ran = site.run("drill", DRILL_DATABASE_URL=url)
        assert ran.code == 8, ran.said
        assert f"can't be loaded into the scratch server, {flavour}" in ran.errors[0]
        assert "log_bin_trust_function_creators" in ran.errors[0]
        assert scratches(other, prefix) == []
    assert site.shelf() == [f"{made}.json", f"{made}.zip"]


# ── What doctor tells of the scratch server ──────────────────────────────────────────────────────────────────


def examined(site: Site, **settings: str) -> list[dict[str, object]]:
    return [each for each in site.run("doctor", "--json", **settings).json() if each["what"] == "scratch server"]


def test_doctor_tries_the_scratch_server(site: Site, scratch: str, flavour: str) -> None:
    good, same = examined(site)
    assert good["good"] is True
    assert str(good["seen"]).startswith(f"{flavour} ")
    assert "Kimai's own" in str(same["seen"])
    assert same["exit_code"] == 0
    assert scratches(site.server, scratch) == []
    assert examined(site, DRILL_DATABASE_URL="") == []


def test_doctor_tells_what_a_drill_would_be_refused_for(site: Site, scratch: str) -> None:
    site.server.run(f"REVOKE INSERT, TRIGGER ON `{scratch}\\_drill\\_%`.* FROM '{scratch}'@'%'")
    [lacking, *_] = examined(site)
    assert (lacking["exit_code"], lacking["seen"]) == (8, "the user lacks INSERT, TRIGGER")
    assert f"{scratch}\\_drill\\_%" in str(lacking["mend"])
    [away] = examined(site, DRILL_DATABASE_URL="mysql://u:p@127.0.0.1:9/drill")
    assert away["exit_code"] == 5
    [forbidden] = examined(site, DRILL_DATABASE_URL=site.url.rpartition("/")[0] + "/elsewhere")
    assert forbidden["exit_code"] == 4
    assert "GRANT ALL PRIVILEGES" in str(forbidden["mend"])


def test_doctor_tells_of_a_scratch_server_that_takes_less_than_kimais(site: Site, flavour: str) -> None:
    with running(flavour, "--max-allowed-packet=1M") as other, scratch_user(other) as (_, url):
        *_, smaller = examined(site, DRILL_DATABASE_URL=url)
    assert "takes statements of 1048576 bytes" in str(smaller["seen"])
    assert "max_allowed_packet" in str(smaller["mend"])
    assert smaller["exit_code"] == 0
