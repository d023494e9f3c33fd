"""One table and a few files lost, in Docker: on a shared volume, and where only Docker reaches; the rest stays."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.story import DOCUMENTED, Story, as_started, differences, is_led_outside, story

pytestmark = pytest.mark.timeout(900)

SHARED = "var/data/invoices"
THROUGH_DOCKER = ("config/packages/local.yaml", "var/invoices")


class Lost(NamedTuple):
    """A Kimai with everything that one can have, backed up, and what was so then."""

    story: Story
    files: dict[str, Any]
    checksums: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def lost(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    with story(tmp_path_factory.mktemp(flavour), flavour) as found:
        found.vary("documented", DOCUMENTED)
        found.up()
        found.load_sample()
        found.write_files()
        found.backup()
        yield Lost(found, files_of(found), found.database.checksums())


def files_of(found: Story) -> dict[str, Any]:
    """What is in Kimai's folder of all that a restore can bring."""
    return {path: each for path, each in as_started(found.files()).items() if not is_led_outside(path)}


def test_a_table_comes_back_into_a_kimai_that_runs_again_afterwards(lost: Lost) -> None:
    found = lost.story
    found.database.query("SET foreign_key_checks=0; DROP TABLE kimai2_tags")
    ran = found.restore("latest", "--tables", "kimai2_tags")
    assert ran.code == 0, ran.said
    assert differences(lost.checksums, found.database.checksums()) == {}
    assert {"running", "healthy"} <= found.project.state("kimai")
    assert found.login_status() == 200
    assert differences(lost.files, files_of(found)) == {}


def test_a_table_that_is_there_is_refused_and_kimai_was_not_stopped(lost: Lost) -> None:
    before = lost.story.app()
    ran = lost.story.restore("latest", "--tables", "kimai2_tags")
    assert ran.code == 8, ran.said
    assert lost.story.app() == before


@pytest.mark.parametrize("path", [SHARED, *THROUGH_DOCKER])
def test_what_is_lost_of_the_files_comes_back_wherever_it_lies(lost: Lost, path: str) -> None:
    found = lost.story
    found.in_kimai("rm", "-r", f"/opt/kimai/{path}")
    assert differences(lost.files, files_of(found))
    ran = found.restore("latest", "--files", path)
    assert ran.code == 0, ran.said
    assert differences(lost.files, files_of(found)) == {}
    assert found.login_status() == 200
    assert differences(lost.checksums, found.database.checksums()) == {}


@pytest.mark.parametrize("path", [SHARED, "var/invoices"])
def test_what_is_there_and_differs_is_refused_and_kimai_was_not_stopped(lost: Lost, path: str) -> None:
    found = lost.story
    name = next(each for each, what in lost.files.items() if each.startswith(f"{path}/") and what["kind"] == "file")
    found.in_kimai("cp", "--preserve", f"/opt/kimai/{name}", "/tmp/kept")
    found.in_kimai("sh", "-c", 'echo since >> "$1"', "sh", f"/opt/kimai/{name}")
    before = found.app()
    ran = found.restore("latest", "--files", path)
    assert ran.code == 8, ran.said
    assert "is there and differs" in ran.errors[0]
    assert found.app() == before
    found.in_kimai("cp", "--preserve", "/tmp/kept", f"/opt/kimai/{name}")
