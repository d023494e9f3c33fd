"""What a backup and a restore in Docker do where something is in the way: refused or taken back, and always said.

One project for each database; every test leaves Kimai as it found it, with the one backup that the module begins with.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.story import (
    DATABASES,
    Story,
    as_started,
    differences,
    is_led_outside,
    proxy_with,
    proxy_without,
    story,
)

pytestmark = pytest.mark.timeout(900)

CHANGED = "/opt/kimai/var/export/custom.html.twig"
"""A file of the backup that tests change, to see which one is there."""


class Ready(NamedTuple):
    """A Kimai with a backup, and what was so when that was made."""

    story: Story
    files: dict[str, Any]
    checksums: dict[str, tuple[int, int]]
    backup: str


@pytest.fixture(scope="module")
def ready(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    with story(tmp_path_factory.mktemp(flavour), flavour) as found:
        found.up()
        found.load_sample()
        found.database.check_who_answers(*DATABASES[flavour][1])
        found.write_files()
        _, manifest = found.backup()
        yield Ready(found, as_started(found.files()), found.database.checksums(), manifest["id"])


@pytest.fixture
def fresh(ready: Ready) -> Story:
    """A Kimai that has just installed itself, on the volumes as they are, one file changed since the backup."""
    found = ready.story
    found.install_anew()
    found.in_kimai("sh", "-c", f"echo changed since >{CHANGED}")
    return found


@contextmanager
def proxy(found: Story, text: str) -> Iterator[None]:
    """Another proxy for a while, then the example's own again."""
    found.change_proxy(text)
    try:
        yield
    finally:
        found.change_proxy()


def check_restored(ready: Ready) -> None:
    """Kimai is well and has everything, but for the links that lead out of it."""
    found = ready.story
    assert {"running", "healthy"} <= found.project.state("kimai")
    assert found.login_status() == 200
    assert differences(ready.checksums, found.database.checksums()) == {}
    lacking = differences(ready.files, as_started(found.files()))
    assert [path for path in lacking if not is_led_outside(path)] == []


# ── Backups ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_its_database_nothing_is_backed_up(ready: Ready) -> None:
    before = ready.story.backups()
    ready.story.project.stop("sqldb")
    try:
        ran = ready.story.command("backup")
        assert ran.code == 5, ran.said
        assert "sqldb" in ran.errors[0]
        assert ready.story.backups() == before
    finally:
        ready.story.up("sqldb")
    ready.story.project.wait("kimai", "healthy")


def test_a_kimai_that_is_stopped_is_backed_up(ready: Ready) -> None:
    ready.story.project.stop("kimai")
    try:
        ran, manifest = ready.story.backup()
    finally:
        ready.story.up("kimai")
    assert manifest["kimai"]["version"] == "2.66.0"
    assert manifest["kimai"]["version_source"] == "version.txt"
    assert "Kimai's version is taken from version.txt" in ran.said
    assert manifest["missing"] == manifest["unreadable"] == []
    assert sum(file.get("kind", "file") == "file" for file in manifest["files"]) > 50


def test_where_the_proxy_refuses_commands_the_version_comes_from_a_file(ready: Ready) -> None:
    found = ready.story
    with proxy(found, proxy_without("exec")):
        ran, manifest = found.backup()
        assert manifest["kimai"]["version_source"] == "version.txt"
        assert manifest["kimai"]["version"] == "2.66.0"
        warned = [line for line in ran.err.splitlines() if '"level": "warning"' in line and "version.txt" in line]
        assert "refuses to run" in warned[0]

        before = found.backups()
        found.in_kimai("mv", "/opt/kimai/version.txt", "/opt/kimai/version.away")
        try:
            ran = found.command("backup")
        finally:
            found.in_kimai("mv", "/opt/kimai/version.away", "/opt/kimai/version.txt")
        assert ran.code == 5, "without any version nothing is backed up"
        assert "refuses to run" in ran.errors[0]
        assert found.backups() == before


# ── Restores that are refused ────────────────────────────────────────────────────────────────────────────────


def untouched(found: Story, *arguments: str) -> str:
    """What a restore says that is refused and changes nothing at all: no row, no file, no start of the app."""
    before = found.database.checksums(), found.files(), found.app(), found.backups()
    ran = found.restore(*arguments)
    assert ran.code == 8, ran.said
    assert (found.database.checksums(), found.files(), found.app(), found.backups()) == before
    assert found.one_offs() == []
    return ran.said


def test_a_database_in_use_is_not_restored_into(ready: Ready) -> None:
    assert "is not empty" in untouched(ready.story, ready.backup)


def test_a_restore_that_could_not_run_kimais_console_begins_nothing(fresh: Story) -> None:
    with proxy(fresh, proxy_without("exec")):
        assert "refuses to run" in untouched(fresh, "latest")


def test_another_version_is_not_restored_into(ready: Ready) -> None:
    """An older one, and a newer one, which migrates the database before anybody restores."""
    found = ready.story
    try:
        for version in ("2.65.0", "2.67.0"):
            found.run_kimai(version)
            said = untouched(found, ready.backup)
            assert f"the backup is of Kimai 2.66.0, Kimai {version} is installed" in said
            assert "image tag apache-2.66.0" in said
    finally:
        found.vary("version")
        found.empty_database()
        found.up("kimai")


def test_a_newer_kimai_migrates_what_was_shown_equal(ready: Ready) -> None:
    """Its start migrates whatever it finds, so the database is loaded and compared while it is stopped."""
    found = ready.story
    try:
        found.run_kimai("2.67.0")
        found.install_anew()
        ran = found.restore(ready.backup, "--upgrade", "--dry-run")
        assert ran.code == 0, ran.said
        assert "from migration Version20260802183206 to Version20261015120000" in ran.out
        # One that fails takes back what was migrated as well: Kimai starts on an empty database.
        found.in_kimai("sh", "-c", "echo 'fail kimai:update' >/opt/kimai/bin/standin-fault")
        ran = found.restore(ready.backup, "--upgrade")
        assert ran.code == 5, ran.said
        assert "taking back what was loaded" in ran.said
        found.project.wait("kimai", "healthy")
        assert {name for name, (rows, _) in found.database.checksums().items() if rows} == {
            "kimai2_configuration",
            "migration_versions",
        }
        found.in_kimai("rm", "/opt/kimai/bin/standin-fault")
        ran = found.restore(ready.backup, "--upgrade")
        assert ran.code == 0, ran.said
        assert 0 < ran.err.index("the database is loaded and equal") < ran.err.index("Kimai has migrated the database")
        assert "APP_SECRET in force comes from var/data/.appsecret, and is the backup's" in ran.err
        assert found.login_status() == 200
        changed = differences(ready.checksums, found.database.checksums())
        assert set(changed) == {"migration_versions"}
        listed = "cd /var/lib/kimai-backup && grep -h outcome *.restores/*.json"
        reports = found.project.exec("backup", "sh", "-c", listed).out
        assert [line.split('"')[3] for line in reports.splitlines()][-2:] == ["failed", "restored"]
    finally:
        found.vary("version")
        found.empty_database()
        found.up("kimai")


# ── Restores that fail half-way ──────────────────────────────────────────────────────────────────────────────


def test_files_that_can_not_be_sent_take_everything_back(ready: Ready, fresh: Story) -> None:
    before, app = as_started(fresh.files()), fresh.app()
    with proxy(fresh, proxy_with("http-request deny if { method PUT } { req.body_size gt 4096 }")):
        ran = fresh.restore(ready.backup)
    assert ran.code == 5, ran.said
    assert "refuses to write to" in ran.errors[0]
    assert "taking back what was loaded" in ran.said
    fresh.project.wait("kimai", "healthy")
    assert fresh.app() != app, "it was stopped, and started again"
    assert differences(before, as_started(fresh.files())) == {}
    # What Kimai's entrypoint has made of an empty database.
    rows = {name: count for name, (count, _) in fresh.database.checksums().items() if count}
    assert set(rows) == {"kimai2_configuration", "migration_versions"}
    # That proxy let nothing be put back either, so that is left for the next restore, and nobody backs up before it.
    refused = fresh.command("backup")
    assert refused.code == 8, refused.said
    ran = fresh.restore(ready.backup)
    assert ran.code == 0, ran.said
    assert "taken back first" in ran.said
    check_restored(ready)


def test_a_kimai_that_does_not_start_has_everything_taken_back(ready: Ready, fresh: Story) -> None:
    """The restored files are fine; what breaks Kimai came after it was checked."""
    before, harmless = as_started(fresh.files()), fresh.folder / "standin-fault"
    harmless.write_text("fail nothing\n")
    # It answers what a check asks, and ends at every start.
    fresh.in_kimai("sh", "-c", "echo 'fail kimai:install' >/opt/kimai/bin/standin-fault")
    try:
        ran = fresh.restore(ready.backup)
    finally:
        fresh.project.compose("cp", str(harmless), "kimai:/opt/kimai/bin/standin-fault")
    assert ran.code == 5, ran.said
    # Three times are enough; the engine may have tried once more by the time that somebody looks.
    told = re.search(r"has ended (\d+) times after its start", ran.errors[0])
    assert told is not None, ran.errors[0]
    assert 3 <= int(told[1]) <= 6
    assert "docker logs" in ran.errors[0]
    fresh.project.wait("kimai", "healthy")
    assert differences(before, as_started(fresh.files())) == {}
    assert fresh.database.checksums()["kimai2_timesheet"][0] == 0


# ── Restores that work ───────────────────────────────────────────────────────────────────────────────────────


def test_a_kimai_that_is_stopped_is_restored_and_started(ready: Ready, fresh: Story) -> None:
    fresh.project.stop("kimai")
    ran = fresh.restore(ready.backup)
    assert ran.code == 0, ran.said
    check_restored(ready)
