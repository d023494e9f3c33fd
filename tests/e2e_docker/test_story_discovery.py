"""Which container is taken for Kimai, and what `doctor` tells of it.

The database plays no part in that, so there is one project only, with MariaDB.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import docker as images
from tests.support.cli import Ran
from tests.support.story import Story, proxy_without, story

pytestmark = pytest.mark.timeout(900)

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"


@pytest.fixture(scope="module")
def kimai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with story(tmp_path_factory.mktemp("discovery"), "mariadb") as found:
        found.up()
        found.load_sample()
        found.write_files()
        yield found


@contextmanager
def another(project: str, service: str, image: str) -> Iterator[str]:
    """A container that does nothing, of a project and a service; its name."""
    name = f"kbtest-other-{uuid.uuid4().hex[:8]}"
    labels = ["--label", f"{PROJECT}={project}", "--label", f"{SERVICE}={service}"]
    images.docker("run", "--detach", "--name", name, *labels, "--entrypoint", "sleep", image, "1000")
    try:
        yield name
    finally:
        images.docker("rm", "--force", "--volumes", name)


def taken(ran: Ran) -> str:
    """Which container `doctor` says that it looked at."""
    assert ran.code == 0, ran.said
    [seen] = [each["seen"] for each in json.loads(ran.out) if each["what"] == "container"]
    return str(seen)


def refused(ran: Ran) -> str:
    """The one line that says why nothing is taken for Kimai."""
    assert ran.code == 4, ran.said
    assert len(ran.errors) == 1
    return ran.errors[0]


# ── Which one ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_service_of_the_own_project_is_found(kimai: Story) -> None:
    with another("a_neighbour", "kimai", images.kimai()):
        assert taken(kimai.command("doctor", "--json")).startswith(f"{kimai.project.name}-kimai-1, {images.kimai()} ")


def test_a_service_that_is_not_there_is_told_with_those_that_are(kimai: Story) -> None:
    with another("a_neighbour", "zeit", images.kimai()) as neighbour:
        line = refused(kimai.once("backup", KIMAI_SERVICE="zeit"))
    assert "the service zeit" in line
    assert f"{kimai.project.name}-kimai-1 ({images.kimai()})" in line
    assert neighbour not in line
    assert "KIMAI_SERVICE" in line
    assert not [name for name in kimai.backups() if not name.startswith(".")]


def test_without_a_name_the_one_kimai_of_the_project_is_found(kimai: Story) -> None:
    with another("a_neighbour", "kimai", images.kimai()), another(kimai.project.name, "shop", images.haproxy()):
        ran = kimai.once("doctor", "--json", KIMAI_SERVICE="")
    assert taken(ran).startswith(f"{kimai.project.name}-kimai-1, ")


def test_two_kimais_in_a_project_are_one_too_many(kimai: Story) -> None:
    with another(kimai.project.name, "zwei", images.kimai()) as second:
        line = refused(kimai.once("backup", "--dry-run", KIMAI_SERVICE=""))
        assert "several" in line
        assert second in line
        assert f"{kimai.project.name}-kimai-1" in line
        assert taken(kimai.command("doctor", "--json")).startswith(f"{kimai.project.name}-kimai-1, ")


def test_a_project_without_kimai_never_takes_a_neighbours(kimai: Story) -> None:
    kimai.project.compose("rm", "--stop", "--force", "kimai")
    try:
        with another("a_neighbour", "kimai", images.kimai()) as neighbour:
            for settings in ({}, {"KIMAI_SERVICE": ""}):
                line = refused(kimai.once("backup", **settings))
                assert neighbour not in line
                assert f"{kimai.project.name}-sqldb-1" in line
    finally:
        kimai.up("kimai")
        kimai.write_files()


def test_a_container_of_any_name_can_be_named(kimai: Story) -> None:
    name = f"stempeluhr-{uuid.uuid4().hex[:8]}"
    kimai.vary("name", f"services:\n  kimai: {{container_name: {name}}}\n")
    kimai.up("kimai")
    try:
        for settings in ({"KIMAI_SERVICE": ""}, {"KIMAI_SERVICE": "no_such_service"}):
            ran = kimai.once("doctor", "--json", KIMAI_CONTAINER=name, **settings)
            assert taken(ran).startswith(f"{name}, ")
        line = refused(kimai.once("backup", KIMAI_CONTAINER="stempelkarte"))
        assert "there is no container stempelkarte" in line
    finally:
        kimai.vary("name")
        kimai.up("kimai")
        kimai.write_files()


def test_another_volume_than_kimais_is_not_taken_for_it(kimai: Story) -> None:
    elsewhere = kimai.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "not_kimais.txt").write_text("not Kimai's")
    options = ["--no-deps", "--volume", f"{elsewhere}:/opt/kimai/var/data:ro"]
    ran = kimai.project.run("backup", "backup", options=options)
    line = refused(ran)
    assert str(elsewhere) in line
    assert f"{kimai.project.name}_data" in line
    assert "/opt/kimai/var/data" in line
    ran = kimai.project.run("backup", "backup", options=["--no-deps", "--volume", f"{elsewhere}:/opt/kimai/config:ro"])
    assert "nothing mounted" in refused(ran)
    assert not [name for name in kimai.backups() if not name.startswith(".")]


# ── What doctor tells ────────────────────────────────────────────────────────────────────────────────────────


def findings(ran: Ran) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for each in json.loads(ran.out):
        found.setdefault(each["what"], []).append(each)
    return found


def test_doctor_tells_what_is_shared_and_what_is_not(kimai: Story) -> None:
    ran = kimai.command("doctor", "--json")
    assert ran.code == 0, ran.said
    found = findings(ran)
    shared = "var/data, var/export, var/invoices, var/packages, var/plugins"
    assert found["shared volumes"][0]["seen"] == shared
    through = found["through Docker"][0]["seen"].split(", ")
    assert {".env.local", "config/packages/local.yaml", "config/bundles-local.php", "templates/invoice"} <= {*through}
    assert not {*through} & {*shared.split(", ")}
    assert "can't be written from here, as it should be for backups" in found["files for a restore"][0]["seen"]
    assert "mariadb 11.8" in found["database"][0]["seen"]
    assert found["Kimai"][0]["seen"] == "version 2.66.0 (by console)"
    assert "all can be opened" in found["files"][0]["seen"], "0600 of another user, too"


def test_doctor_tells_what_goes_with_the_container(kimai: Story) -> None:
    layer = findings(kimai.command("doctor", "--json"))["layer"]
    [local] = [each for each in layer if each["seen"].startswith("config/packages/local.yaml ")]
    assert "gone when the container is made anew" in local["seen"]
    assert "./local.yaml:/opt/kimai/config/packages/local.yaml" in local["mend"]
    text = kimai.command("doctor").out
    assert "config/packages/local.yaml lies in the container's own layer" in text


def test_doctor_run_as_restore_can_write(kimai: Story) -> None:
    options = ["--no-deps", "--entrypoint", "kimai-backup"]
    ran = kimai.project.run("restore", "doctor", "--json", options=options)
    assert ran.code == 0, ran.said
    seen = findings(ran)["files for a restore"][0]["seen"]
    assert seen.startswith("volumes and container can be written to")


def test_doctor_tells_what_the_proxy_refuses(kimai: Story) -> None:
    kimai.change_proxy(proxy_without("/archive"))
    try:
        ran = kimai.command("doctor", "--json")
    finally:
        kimai.change_proxy()
    assert ran.code in (4, 5), ran.said
    bad = " ".join(each["seen"] for each in json.loads(ran.out) if not each["good"])
    assert "refuses to read" in bad
