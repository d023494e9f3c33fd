"""Fixtures that many suites share: real servers, and databases that vanish after each test."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.support.servers import Server, mariadb, mysql_from

MYSQL_URL = os.environ.get("KIMAI_TEST_MYSQL_URL", "")
FLAVOURS = ["mariadb", *(["mysql"] if MYSQL_URL else [])]


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    server = mariadb("--max-allowed-packet=256M")
    assert "MariaDB" in server.run("SELECT VERSION()")[0][0]
    yield server
    server.stop()


@pytest.fixture(scope="session", params=FLAVOURS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each flavour of database server that this run has; MySQL where KIMAI_TEST_MYSQL_URL names one."""
    if request.param == "mariadb":
        found: Server = request.getfixturevalue("mariadb_server")
        return found
    server = mysql_from(MYSQL_URL)
    assert "MariaDB" not in server.run("SELECT VERSION()")[0][0]
    return server


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[], str]]:
    """Makes empty databases that are gone after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"kimai_{uuid.uuid4().hex[:10]}"
        server.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        made.append(name)
        return name

    yield make
    for name in made:
        server.run(f"DROP DATABASE IF EXISTS {name}")
