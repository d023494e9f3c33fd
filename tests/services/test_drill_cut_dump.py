"""A dump that was cut after any of its statements is found by a drill, and what it lost is named."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Site
from tests.support.drill import dump_of, repack
from tests.support.drill_bench import Bench, running

SMALL = (
    "CREATE TABLE alpha (id INT PRIMARY KEY, name VARCHAR(20) DEFAULT 'a', KEY by_name (name))",
    "CREATE TABLE beta (id INT PRIMARY KEY, alpha_id INT, FOREIGN KEY (alpha_id) REFERENCES alpha (id))",
    "INSERT INTO alpha VALUES (1, 'one'), (2, 'two;')",
    "INSERT INTO beta VALUES (1, 2)",
    "CREATE VIEW gamma AS SELECT name FROM alpha",
    "CREATE TRIGGER delta BEFORE INSERT ON beta FOR EACH ROW SET NEW.alpha_id = 1",
    "CREATE EVENT epsilon ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01' DO DELETE FROM beta",
)
STATEMENT = re.compile(rb";{1,2}\n")
MADE = re.compile(rb"(?:^|\n| )(?:CREATE TABLE|INSERT INTO|VIEW|TRIGGER|EVENT) (?:IF NOT EXISTS )?`(\w+)`")
"""What speaks of a table or of what stands beside it; the last thing to be lost is the event's own CREATE."""


@pytest.fixture
def bench(site: Site, tmp_path: Path) -> Iterator[Bench]:
    site.lose_database()
    site.sql(*SMALL)
    with running(site, tmp_path) as made:
        # MySQL's has a binary log, and drill-db of the example none.
        site.server.run("SET GLOBAL log_bin_trust_function_creators=1")
        yield made
        site.server.run("SET GLOBAL log_bin_trust_function_creators=0")


def test_after_any_statement(bench: Bench) -> None:
    whole = {name: (bench.folder / name).read_bytes() for name in (f"{bench.made}.zip", f"{bench.made}.json")}
    text = dump_of(bench.folder, bench.made)
    # What follows puts back the session's settings, and loses nothing.
    last = max(match.start() for match in re.finditer(rb"CREATE[^\n]* EVENT ", text))
    cuts = [match.end() for match in STATEMENT.finditer(text) if match.end() <= last]
    assert len(cuts) > 30
    for cut in cuts:
        repack(bench.folder, bench.made, {"database.sql": (text[cut:], b"")})
        [result] = bench.drill().results
        lost = MADE.search(text, cut - 1)
        assert lost, text[cut:]
        said = "\n".join(result.proof.differences)
        assert not result.proof.matched, text[cut - 200 : cut + 200]
        assert lost[1].decode() in said, (lost[1], said, text[cut - 200 : cut + 200])
        for name, content in whole.items():
            (bench.folder / name).write_bytes(content)
    [result] = bench.drill().results
    assert result.proof.matched
