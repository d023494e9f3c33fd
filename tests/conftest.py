"""Fixtures that many suites share: real servers, and databases that vanish after each test."""

import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import mysql_server as mysql_servers
from tests.support import seaweed
from tests.support.cli import Site, make_site
from tests.support.drill import scratch_user
from tests.support.examples import QUICK, USUAL
from tests.support.line import site_behind_line
from tests.support.proxy import Proxy
from tests.support.servers import Server, mariadb

CI_FORBIDS_SKIPPING = os.environ.get("CI") == "true"


# How long an example takes says how busy the machine is: what is slow is told by pytest's own limit.
hypothesis.settings.register_profile("house", deadline=None, max_examples=USUAL)
# `make check` is to be quick; `make test` tries them all.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=QUICK)
hypothesis.settings.load_profile("house")


def pytest_configure() -> None:
    """What nohup or a shell's `&` has ignored, the commands that are tested would ignore as well, as they should."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that skips itself, or may fail, is a failure: green must mean that it ran and passed."""
    report = yield
    if CI_FORBIDS_SKIPPING and (report.skipped or hasattr(report, "wasxfail")):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} did not pass, and CI forbids skipping: {report.longrepr}"
        report.__dict__.pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    report = yield
    if CI_FORBIDS_SKIPPING and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was not collected, and CI forbids skipping: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    server = mariadb("--max-allowed-packet=256M")
    assert "MariaDB" in server.run("SELECT VERSION()")[0][0]
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Server]:
    with mysql_servers.running("--max-allowed-packet=256M") as server:
        yield server


@pytest.fixture(scope="session")
def flavour() -> str:
    """The database server's; tests/services and tests/e2e_docker run with each that they are asked to."""
    return "mariadb"


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, flavour: str) -> Server:
    """A server of the flavour, for the whole run."""
    found: Server = request.getfixturevalue(f"{flavour}_server")
    return found


@pytest.fixture(scope="session")
def s3_store() -> Iterator[seaweed.Store]:
    """A real S3 store on loopback; each test makes its own bucket in it."""
    with seaweed.running() as store:
        yield store


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


@pytest.fixture
def site(tmp_path: Path, server: Server) -> Iterator[Site]:
    """A small Kimai with all that its admin has: database, files, console, folders for backups and state."""
    found = make_site(tmp_path, server)
    yield found
    found.end()


@pytest.fixture
def line(tmp_path: Path, server: Server) -> Iterator[tuple[Site, Proxy]]:
    """A site with many rows, and the line to its server, which tests can hold and cut."""
    with site_behind_line(tmp_path, server) as found:
        yield found


@pytest.fixture
def scratch(site: Site) -> Iterator[str]:
    """A prefix of its own; a user who may make databases of that prefix and nothing else."""
    with scratch_user(site.server) as (prefix, url):
        site.extra["DRILL_DATABASE_URL"] = url
        yield prefix
