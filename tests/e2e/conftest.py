"""A Kimai in use, of the tests that restore over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import make_site
from tests.support.in_use import InUse, go_on
from tests.support.servers import Server


@pytest.fixture
def in_use(tmp_path: Path, mariadb_server: Server) -> Iterator[InUse]:
    """It went on since its backup."""
    site = make_site(tmp_path, mariadb_server, timesheets=50)
    yield go_on(site)
    site.end()
