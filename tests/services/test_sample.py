"""A real Kimai's dump goes round as well, where KIMAI_SAMPLE_SQL names one; elsewhere there are no such tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.engine import checksums, comparable, differences, dump_database, load_database
from tests.support.servers import Server

SAMPLE = os.environ.get("KIMAI_SAMPLE_SQL", "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "connections" in metafunc.fixturenames:
        metafunc.parametrize("connections", [1, 3])


if SAMPLE:

    def test_a_real_dump_goes_round(server: Server, new_database: Callable[[], str], connections: int) -> None:
        ours, native, again = new_database(), new_database(), new_database()
        sample = Path(SAMPLE).read_bytes()
        assert load_database(server.url(ours), sample, connections).warnings == []
        server.native_load(native, sample)
        assert len(checksums(server, native)) > 30
        assert checksums(server, ours) == checksums(server, native)
        sql, description = dump_database(server.url(ours), connections)
        assert load_database(server.url(again), sql, connections).warnings == []
        assert checksums(server, again) == checksums(server, native)
        assert differences(server.url(again), description, connections) == []
        assert description.newest_migration is not None
        if server.flavour == "mariadb":  # SHOW CREATE of MySQL prints a reloaded table in other words
            assert comparable(server.native_dump(again), again) == comparable(server.native_dump(native), native)
