"""Which servers the tests run on, fresh ones with options, and users with few rights, gone after the test.

KIMAI_TEST_SERVERS names the flavours, `mariadb` if it is not set; `make e2e` runs them on `mysql`, in a container.
Two marks say what a test is for, and it is only collected for those: `flavours("mysql")`, and `cases({flavour: {…}})`
for a test that gets a `case` of those that its flavour has.
"""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import docker, mysql_server, servers
from tests.support.cli import make_site
from tests.support.in_use import InUse, go_on
from tests.support.servers import Server

ASKED_FOR = "KIMAI_TEST_SERVERS"
_WITHOUT_MYSQL: list[str] = []


def asked_for() -> list[str]:
    return os.environ.get(ASKED_FOR, "mariadb").split()


def pytest_configure(config: pytest.Config) -> None:
    """An engine before anything asks for one; without MySQL's image the other flavours, told to the workers too."""
    config.addinivalue_line("markers", "flavours(*names): the database servers that the test is for, not all of them")
    config.addinivalue_line("markers", "cases(by_flavour): the test runs with each `case` of each flavour")
    if "mysql" not in asked_for() or hasattr(config, "workerinput"):
        return
    subprocess.run([str(docker.ROOT / "scripts" / "docker-engine")], check=True, timeout=600, stdin=subprocess.DEVNULL)
    if reason := mysql_server.why_there_is_none():
        _WITHOUT_MYSQL.append(reason)
        os.environ[ASKED_FOR] = " ".join(flavour for flavour in asked_for() if flavour != "mysql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "flavour" not in metafunc.fixturenames:
        return
    flavours = _flavours(metafunc.definition)
    cases = metafunc.definition.get_closest_marker("cases")
    if cases is None:
        metafunc.parametrize("flavour", flavours, scope="session")
    else:
        pairs = [(flavour, case) for flavour in flavours for case in cases.args[0][flavour]]
        metafunc.parametrize(("flavour", "case"), pairs, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test for no server that was asked for isn't there, nor one without any server where MariaDB has had it."""
    here = Path(__file__).parent
    left_out = [item for item in items if item.path.is_relative_to(here) and not _is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_wanted(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    return bool(_flavours(item)) if "flavour" in item.fixturenames else "mariadb" in asked_for()


def _flavours(item: pytest.Item) -> list[str]:
    marks = [mark.args for mark in item.iter_markers("flavours")]
    return [flavour for flavour in asked_for() if all(flavour in mark for mark in marks)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested is among the last things that are read."""
    for reason in _WITHOUT_MYSQL:
        why = reason.strip().splitlines()[-1][:160]
        terminalreporter.write_line(docker.banner("THE ENGINE WAS NOT TESTED ON MYSQL", why), red=True, bold=True)


@contextlib.contextmanager
def running(flavour: str, *options: str) -> Iterator[Server]:
    """A fresh server of the flavour, with these options, gone afterwards."""
    start = mysql_server.running if flavour == "mysql" else servers.running
    with start(*options) as server:
        yield server


@pytest.fixture
def new_user(server: Server) -> Iterator[Callable[..., str]]:
    """Makes users; `new_user(database, "SELECT", …)` gives a URL for one that has these rights on the database."""
    made: list[str] = []

    def make(database: str, *rights: str) -> str:
        name = f"u{uuid.uuid4().hex[:10]}"
        server.run(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'hunter2 ü'")
        made.append(name)
        if rights:
            server.run(f"GRANT {', '.join(rights)} ON `{database}`.* TO '{name}'@'%'")
        return server.url(database, name, "hunter2 ü")

    yield make
    for name in made:
        server.run(f"DROP USER IF EXISTS '{name}'@'%'")


@pytest.fixture
def in_use(tmp_path: Path, server: Server) -> Iterator[InUse]:
    """A Kimai that went on since its backup, of the tests that restore over it."""
    site = make_site(tmp_path, server, timesheets=50)
    yield go_on(site)
    site.end()
