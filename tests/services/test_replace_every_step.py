"""A restore over a Kimai in use that is killed at every write of its journal, and at every rename."""

import itertools
import signal

import pytest

from tests.support.cli import DEADLINE, Site
from tests.support.in_use import NOTE, InUse, phase
from tests.support.killing import Point, start_to_get


def end_either_way(in_use: InUse, number: int) -> None:
    """By turns, so that a loop over many points tries both."""
    end, assert_whole = (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new))[number % 2]
    ran = in_use.site.run("restore", end)
    assert ran.code == 0, ran.said
    assert_whole()
    if end == "--resume":
        assert in_use.site.run("restore", max(in_use.safeties()), "--replace").code == 0
        in_use.assert_old()


@pytest.mark.parametrize(
    ("point", "least"),
    [
        (Point("sidecar.state", NOTE, 1, "before"), 5),
        (Point("sidecar.state", NOTE, 1, "after"), 5),
        (Point("sidecar.kimai.setaside", "Exchange._move", 1, "after"), 8),
        (Point("sidecar.kimai.setaside", "Exchange._link_aside", 1, "after"), 1),
    ],
    ids=[
        "before the journal is written",
        "after the journal is written",
        "after each rename",
        "after each second name",
    ],
)
def test_a_kill_at_each_step_of_a_kind_is_ended_either_way(in_use: InUse, point: Point, least: int) -> None:
    """`.env`, which names the database, is one of what is exchanged: it is there at every moment."""
    site = in_use.site
    for number in itertools.count(1):
        process_ended = not _killed(site, point._replace(nth=number), in_use.backup)
        assert (site.root / ".env").exists()
        if process_ended:
            assert number > least
            return
        if phase(site) is None:
            in_use.assert_old()
        elif phase(site) == "settled":
            assert site.run("restore", "--resume").code == 0
            in_use.assert_new()
            assert site.run("restore", max(in_use.safeties()), "--replace").code == 0
        else:
            end_either_way(in_use, number)


def _killed(site: Site, point: Point, backup: str) -> bool:
    """Whether it was, or came to its end by itself, as there are fewer such steps."""
    process = start_to_get(signal.SIGKILL, site, point, "restore", backup, "--replace")
    process.communicate(timeout=DEADLINE)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0
