"""A restore that was killed before it had touched anything: it is told, and ended by one word either way."""

import signal

import pytest

from tests.support.cli import Site
from tests.support.killing import Point, kill_at, start_to_get

WHOLE = (Point("sidecar.restore", "carry_out"), "latest")
LOST = (Point("sidecar.restore_lost", "_carry_out"), "latest", "--tables", "kimai2_tags")


@pytest.fixture(params=[WHOLE, LOST], ids=["whole", "of a table"])
def killed(site: Site, request: pytest.FixtureRequest) -> tuple[Site, str]:
    """The command that was killed, too."""
    site.backup()
    site.remember()
    point, *arguments = request.param
    if request.param is WHOLE:
        site.lose_all()
    else:
        site.sql("SET foreign_key_checks = 0", "DROP TABLE kimai2_tags")
    kill_at(site, point, "restore", *arguments)
    return site, " ".join(arguments).replace("latest", site.ids()[0])


def test_every_command_says_so_and_what_to_do(killed: tuple[Site, str]) -> None:
    site, command = killed
    for arguments in (("backup",), ("prune",)):
        ran = site.run(*arguments)
        assert ran.code == 8, ran.said
        assert "before it had touched anything, and Kimai may be stopped" in ran.errors[0]
        assert f"`kimai-backup restore {command}` again, or `kimai-backup restore --rollback`" in ran.errors[0]
    assert site.run("health").code == 1
    ran = site.run("restore", "--resume")
    assert ran.code == 8, ran.said
    assert f"restore {command}" in ran.errors[0]


def test_a_rollback_leaves_all_as_it_is(killed: tuple[Site, str]) -> None:
    site, _ = killed
    objects, files = site.objects(), site.files()
    dry = site.run("restore", "--rollback", "--dry-run")
    assert (dry.code, "would let Kimai run again" in dry.out) == (0, True), dry.said
    ran = site.run("restore", "--rollback")
    assert ran.code == 0, ran.said
    assert (site.objects(), site.files(), site.traces()) == (objects, files, [])
    assert site.run("restore", "--rollback").code == 8


def test_the_same_command_again_brings_it_back(killed: tuple[Site, str]) -> None:
    site, command = killed
    ran = site.run("restore", *command.split())
    assert ran.code == 0, ran.said
    site.assert_restored()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_before_anything_was_touched_finds_no_journal(site: Site, number: signal.Signals) -> None:
    made = site.backup()
    site.lose_all()
    point, *_ = WHOLE
    ran = site.ended(start_to_get(number, site, point, "restore", made))
    assert ran.code == 130, ran.said
    assert site.traces() == []
    assert site.run("restore", "--rollback").code == 8
