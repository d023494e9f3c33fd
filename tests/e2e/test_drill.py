"""A drill says how it went, marks each copy by what it found there, and gives each backup its turn."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.cli import Site, poll
from tests.support.drill import failed, repack, scratches
from tests.support.s3 import settings
from tests.support.seaweed import Store


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


def test_without_a_scratch_server_it_says_what_to_set(site: Site) -> None:
    site.backup()
    ran = site.run("drill")
    assert ran.code == 4
    assert "DRILL_DATABASE_URL" in ran.errors[0]


def test_a_scratch_server_that_is_away_marks_nothing(site: Site, scratch: str) -> None:
    site.backup()
    ran = site.run("drill", DRILL_DATABASE_URL="mysql://u:p@127.0.0.1:9/drill")
    assert ran.code == 5, ran.said
    assert len(site.shelf()) == 2


def test_proof_is_remembered_as_a_run(site: Site, scratch: str) -> None:
    made = site.backup()
    site.run("drill")
    lines = (site.state / "kimai.runs" / "runs.jsonl").read_text().split("\n")
    last = json.loads([line for line in lines if line][-1])
    assert (last["command"], last["exit_code"], last["backup"]) == ("drill", 0, made)
    assert {"check the archive", "load the database", "compare the database"} <= {p["name"] for p in last["phases"]}


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
