"""A scratch database that can't be dropped holds all that Kimai knows: it is told, and the next drill drops it."""

from dataclasses import replace
from pathlib import Path

from sidecar import tables
from sidecar.database.scratch import NEUTRAL
from sidecar.database.server import Session
from sidecar.errors import Exit, Unreachable
from tests.support.cli import Site
from tests.support.drill import scratches
from tests.support.drill_bench import running


def test_a_scratch_database_that_stays_is_told_and_dropped_by_the_next_drill(site: Site, tmp_path: Path) -> None:
    with running(site, tmp_path) as bench:
        opened = bench.job.connect
        asked: list[str] = []

        def lost_at_the_drop(name: str) -> Session:
            asked.append(name)
            # To sweep, to make one, to drop it.
            if asked.count(NEUTRAL) == 3 and name == NEUTRAL:
                raise Unreachable("the scratch server has gone")
            return opened(name)

        broken = replace(bench, job=replace(bench.job, connect=lost_at_the_drop))
        outcome = broken.drill()
        assert outcome.results[0].proof.matched
        assert outcome.exit_code is Exit.PARTIAL
        [name] = scratches(site.server, bench.job.prefix)
        assert f"! the scratch database {name} is left" in tables.drilled(outcome)
        again = bench.drill()
        assert (again.exit_code, again.left) == (Exit.DONE, [])
