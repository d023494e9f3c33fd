"""A drill proves a backup by restoring it elsewhere, finds each thing that is not as it was, and leaves nothing."""

import hashlib
import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.cli import Site, poll
from tests.support.drill import failed, proof, repack, scratch_user, scratches
from tests.support.s3 import settings
from tests.support.seaweed import Store
from tests.support.servers import running


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


def test_the_outcome_is_one_document(site: Site, scratch: str) -> None:
    made = site.backup()
    [found] = site.run("drill", made[:-4], "--json").json()
    assert (found["id"], found["matched"], found["marked"], found["unmarked"]) == (made, True, ["local"], {})
    assert all(table["equal"] for table in found["tables"])


def test_what_failed_once_is_proven_by_a_drill_that_matches(site: Site, scratch: str) -> None:
    made = site.backup()
    whole = (site.backups / f"{made}.zip").read_bytes()
    (site.backups / f"{made}.zip").write_bytes(whole[:-1])
    failed(site, made, scratch)
    (site.backups / f"{made}.zip").write_bytes(whole)
    assert site.run("drill", made).code == 0
    assert site.shelf() == [f"{made}.json", f"{made}.proof.json", f"{made}.zip"]


def test_the_oldest_in_its_turn(site: Site, scratch: str) -> None:
    made = [site.backup() for _ in range(3)]
    for expected in (*made, made[0]):
        [found] = site.run("drill", "--oldest", "--json").json()
        assert found["id"] == expected
    assert site.run("drill", made[0], "--oldest").code == 2


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


def test_without_a_scratch_server_it_says_what_to_set(site: Site) -> None:
    site.backup()
    ran = site.run("drill")
    assert ran.code == 4
    assert "DRILL_DATABASE_URL" in ran.errors[0]


def test_a_user_who_may_make_no_database_is_told_the_grant(site: Site, scratch: str) -> None:
    site.backup()
    ran = site.run("drill", DRILL_DATABASE_URL=site.url.rpartition("/")[0] + "/elsewhere")
    assert ran.code == 4, ran.said
    assert r"GRANT ALL PRIVILEGES ON `elsewhere\_drill\_%`.* TO" in ran.errors[0]
    assert "proof" not in "".join(site.shelf())


def test_a_scratch_server_that_is_away_marks_nothing(site: Site, scratch: str) -> None:
    site.backup()
    ran = site.run("drill", DRILL_DATABASE_URL="mysql://u:p@127.0.0.1:9/drill")
    assert ran.code == 5, ran.said
    assert len(site.shelf()) == 2


def test_events_are_never_enabled_in_a_drill(site: Site, scratch: str) -> None:
    site.sql("CREATE EVENT ticking ON SCHEDULE EVERY 1 DAY DO DELETE FROM kimai2_tags")
    site.backup()
    site.server.run("SET GLOBAL log_output='TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log=ON")
    try:
        ran = site.run("drill")
    finally:
        site.server.run("SET GLOBAL general_log=OFF")
    assert ran.code == 0, ran.said
    said = site.server.run(f"SELECT argument FROM mysql.general_log WHERE user_host LIKE '{scratch}%'")
    statements = [str(text).upper() for (text,) in said]
    created = [text for text in statements if re.match(r"CREATE\b.* EVENT\b", text)]
    assert created
    assert all(re.search(r"PRESERVE\s+DISABLE\b", text) for text in created)
    assert not [text for text in statements if re.match(r"ALTER\b.* EVENT\b", text)]


def test_proof_is_remembered_as_a_run(site: Site, scratch: str) -> None:
    made = site.backup()
    site.run("drill")
    lines = (site.state / "kimai.runs" / "runs.jsonl").read_text().split("\n")
    last = json.loads([line for line in lines if line][-1])
    assert (last["command"], last["exit_code"], last["backup"]) == ("drill", 0, made)
    assert {"check the archive", "load the database", "compare the database"} <= {p["name"] for p in last["phases"]}


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


def test_what_the_scratch_server_refuses_by_itself_speaks_of_no_backup(site: Site, scratch: str) -> None:
    """Here triggers, where it writes a binary log and the user is no administrator; a full disk is answered alike."""
    site.sql("CREATE TRIGGER counted BEFORE INSERT ON kimai2_tags FOR EACH ROW SET NEW.name = TRIM(NEW.name)")
    made = site.backup()
    binary_log = ("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
    with running(*binary_log) as other, scratch_user(other) as (prefix, url):
        ran = site.run("drill", DRILL_DATABASE_URL=url)
        assert ran.code == 8, ran.said
        assert "can't be loaded into the scratch server, mariadb" in ran.errors[0]
        assert "log_bin_trust_function_creators" in ran.errors[0]
        assert scratches(other, prefix) == []
    assert site.shelf() == [f"{made}.json", f"{made}.zip"]


@pytest.fixture
def offsite(site: Site, s3_store: Store, tmp_path: Path) -> Site:
    site.extra |= settings(s3_store, s3_store.bucket(), tmp_path)
    return site


def listed(site: Site) -> dict[str, object]:
    [found] = site.run("list", "--json").json()
    return dict(found)


def test_a_proof_lies_on_each_target_that_holds_the_archive(offsite: Site, scratch: str) -> None:
    made = offsite.backup()
    [found] = offsite.run("drill", "--json").json()
    assert (found["read_from"], found["marked"]) == ("local", ["local", "s3"])
    (offsite.backups / f"{made}.proof.json").unlink()
    assert listed(offsite)["proven"] is True


def test_a_rotten_copy_is_marked_and_the_next_one_proven(offsite: Site, scratch: str) -> None:
    made = offsite.backup()
    path = offsite.backups / f"{made}.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    ran = offsite.run("drill", "--json")
    assert ran.code == 7, ran.said
    first, second = ran.json()
    assert (first["read_from"], first["matched"], first["marked"]) == ("local", False, ["local"])
    assert (second["read_from"], second["matched"], second["marked"]) == ("s3", True, ["s3"])
    # What it found to be rotten bears no proof because another copy is whole.
    assert offsite.shelf() == [f"{made}.failed.json", f"{made}.json", f"{made}.zip"]


def test_a_copy_whose_manifest_is_gone_bad_is_passed_over_and_told(offsite: Site, scratch: str) -> None:
    made = offsite.backup()
    (offsite.backups / f"{made}.json").write_text("{}")
    ran = offsite.run("drill")
    assert ran.code == 7, ran.said
    assert "the copy on local could not be tried" in ran.out
    assert "read from s3" in ran.out
    assert f"{made}.proof.json" not in offsite.shelf()


# ── Whose turn it is ─────────────────────────────────────────────────────────────────────────────────────────


def refused_for_ever(site: Site, made: str) -> None:
    """No server takes so large a statement."""
    beside = site.backups / f"{made}.json"
    manifest = json.loads(beside.read_bytes())
    manifest["database"]["largest_statement"] = 1 << 40
    beside.write_text(json.dumps(manifest))
    repack(site.backups, made, {})


def turn(site: Site, *arguments: str) -> str | int:
    """Which backup was drilled, or the exit code of a drill that could not be made."""
    ran = site.run("drill", "--json", *arguments)
    return str(ran.json()[0]["id"]) if ran.code == 0 else ran.code


def test_one_that_is_refused_every_time_keeps_no_other_from_its_turn(site: Site, scratch: str) -> None:
    first, second = site.backup(), site.backup()
    refused_for_ever(site, first)
    assert [turn(site, "--oldest") for _ in range(4)] == [8, second] * 2
    assert f"{first}.failed.json" not in site.shelf()


def test_one_whose_drill_was_killed_waits_for_the_others(site: Site, scratch: str) -> None:
    first, second = site.backup(), site.backup()
    process = site.start("drill", "--oldest")
    poll(lambda: scratches(site.server, scratch), "a scratch database")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert [turn(site, "--oldest") for _ in range(2)] == [second, first]


def test_a_drill_that_never_began_takes_no_turn(site: Site, scratch: str) -> None:
    first = site.backup()
    site.backup()
    assert site.run("drill", "--oldest", DRILL_DATABASE_URL="mysql://u:p@127.0.0.1:9/drill").code == 5
    assert turn(site, "--oldest") == first


def test_by_schedule_it_is_the_newest_and_then_the_others(site: Site, scratch: str) -> None:
    first, second = site.backup(), site.backup()
    assert [turn(site, "--trigger", "schedule") for _ in range(2)] == [second, first]
    refused_for_ever(site, site.backup())
    assert turn(site, "--trigger", "schedule") == 8
    assert turn(site, "--trigger", "retry") == 8, "what failed is tried again"
    assert turn(site, "--trigger", "schedule") == second


# ── What doctor tells of the scratch server ──────────────────────────────────────────────────────────────────


def examined(site: Site, **settings: str) -> list[dict[str, object]]:
    return [each for each in site.run("doctor", "--json", **settings).json() if each["what"] == "scratch server"]


def test_doctor_tries_the_scratch_server(site: Site, scratch: str) -> None:
    good, same = examined(site)
    assert good["good"] is True
    assert str(good["seen"]).startswith("mariadb ")
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


def test_doctor_tells_of_a_scratch_server_that_takes_less_than_kimais(site: Site) -> None:
    with running("--max-allowed-packet=1M") as other, scratch_user(other) as (_, url):
        *_, smaller = examined(site, DRILL_DATABASE_URL=url)
    assert "takes statements of 1048576 bytes" in str(smaller["seen"])
    assert "max_allowed_packet" in str(smaller["mend"])
    assert smaller["exit_code"] == 0
