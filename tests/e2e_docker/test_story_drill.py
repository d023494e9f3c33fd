"""`drill-db` of the example: switched on in .env, the daemon proves backups in it when their hour comes."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.support.cli import poll
from tests.support.story import DATABASES, SERVICES, Story, story

pytestmark = pytest.mark.timeout(600)

PASSWORD = "dr1ll.Passw0rd"
FILL = """
rest=$(df --output=avail -B1 /var/lib/mysql | tail -1)
head -c $((rest - {left})) /dev/zero >/var/lib/mysql/filling || :
"""
REACHES = "import socket; socket.create_connection(('{host}', 3306), 3)"


@pytest.fixture(scope="module")
def drilled(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A Kimai with its database and `drill-db`, and no backup yet; each minute is a drill's hour."""
    with story(tmp_path_factory.mktemp(flavour), flavour) as found:
        with (found.folder / ".env").open("a") as settings:
            settings.write(f"COMPOSE_PROFILES=drill\nDRILL_PASSWORD={PASSWORD}\nDRILL_SCHEDULE=* * * * *\n")
        found.project.profiles = ("restore", "drill")
        found.secrets = (*found.secrets, PASSWORD)
        found.up(*SERVICES[:-1], "drill-db")
        found.database.check_who_answers(*DATABASES[flavour][1])
        found.load_sample()
        ran = found.once("backup")
        assert ran.code == 0, ran.said
        found.up("backup")
        yield found


def runs(found: Story) -> list[dict[str, Any]]:
    """The drills of the history in the state folder."""
    ran = found.project.exec("backup", "cat", "/var/lib/kimai-backup/kimai.runs/runs.jsonl")
    return [run for line in ran.out.splitlines() if line and (run := json.loads(line))["command"] == "drill"]


def notes(found: Story, kind: str) -> list[str]:
    return [name for name in found.backups() if name.endswith(f".{kind}.json")]


def test_its_hour_comes_and_leaves_a_proof(drilled: Story, flavour: str) -> None:
    poll(lambda: runs(drilled), "a drill by schedule", 100)
    first = runs(drilled)[0]
    assert (first["trigger"], first["exit_code"]) == ("schedule", 0), first
    [name] = notes(drilled, "proof")
    proof = json.loads((drilled.folder / "backups" / name).read_bytes())
    assert proof["matched"] is True
    assert proof["definitions_compared"] is True
    assert proof["drill_server"].startswith(f"{flavour} ")
    rows = {table["name"]: table["rows"] for table in proof["tables"]}
    assert rows == {table: count for table, (count, _) in drilled.database.checksums().items()}
    assert datetime.fromisoformat(proof["finished_at"]).minute == datetime.fromisoformat(first["finished_at"]).minute


def test_nobody_but_backup_reaches_it(drilled: Story) -> None:
    host = drilled.project.inspect("drill-db")
    assert list(host["NetworkSettings"]["Networks"]) == [f"{drilled.project.name}_drill"]
    assert not any(host["NetworkSettings"]["Ports"].values())
    assert drilled.project.exec("backup", "python3", "-c", REACHES.format(host="drill-db")).code == 0
    address = drilled.project.address("drill-db")
    for host in ("drill-db", address):
        assert drilled.project.exec("kimai", "python3", "-c", REACHES.format(host=host)).code != 0


def test_it_keeps_nothing_on_a_disk(drilled: Story) -> None:
    assert [
        each["Destination"] for each in drilled.project.inspect("drill-db")["Mounts"] if each["Type"] == "volume"
    ] == []
    said = drilled.project.exec("drill-db", "df", "--output=fstype", "/var/lib/mysql").out
    assert said.split()[-1] == "tmpfs"


def test_doctor_looks_at_it(drilled: Story, flavour: str) -> None:
    found = [each for each in json.loads(drilled.command("doctor", "--json").out) if each["what"] == "scratch server"]
    [line] = found
    assert line["good"] is True
    assert line["mend"] == ""
    assert line["seen"].startswith(f"{flavour} ")


def test_without_room_it_is_said_and_speaks_against_no_backup(drilled: Story, flavour: str) -> None:
    drilled.project.stop("backup")  # each minute's drill would be in the way
    proofs = notes(drilled, "proof")
    for left in (1 << 20, 0):
        ran = drilled.project.exec("drill-db", "sh", "-c", FILL.format(left=left))
        assert ran.code == 0, ran.said
        ran = drilled.once("drill")
        assert ran.code == 8, ran.said
        assert "scratch server" in ran.errors[0]
        # As a rare answer of MySQL names no reason: "Look at the server …: its room".
        assert "room" in ran.errors[0], ran.errors[0]
        assert drilled.project.exec("drill-db", "rm", "/var/lib/mysql/filling").code == 0
    assert notes(drilled, "failed") == []
    assert notes(drilled, "proof") == proofs
    ran = drilled.once("drill")
    assert ran.code == 0, ran.said
