"""Images and projects for the Docker tests; where a database can't be had, a banner says so and the others go on."""

import os
import subprocess

import pytest

from tests.support import docker, mysql_server

ASKED_FOR = "KIMAI_TEST_FLAVOURS"
_WITHOUT_MYSQL: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """An engine before anything asks for one, and the databases that there are, told to the worker processes too."""
    subprocess.run([str(docker.ROOT / "scripts" / "docker-engine")], check=True, timeout=600, stdin=subprocess.DEVNULL)
    wanted = os.environ.get(ASKED_FOR, "mariadb mysql").split()
    if "mysql" not in wanted:
        reason = f"{ASKED_FOR} leaves it out"
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(f"CI forbids to go on without MySQL: {reason}")
        _WITHOUT_MYSQL.append(reason)
    elif reason := mysql_server.why_there_is_none():
        _WITHOUT_MYSQL.append(reason)
        os.environ[ASKED_FOR] = " ".join(flavour for flavour in wanted if flavour != "mysql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`flavour` is each database that this machine can make an image of."""
    if "flavour" in metafunc.fixturenames:
        metafunc.parametrize("flavour", os.environ.get(ASKED_FOR, "mariadb mysql").split(), scope="session")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested is among the last things that are read."""
    for reason in _WITHOUT_MYSQL:
        why = reason.strip().splitlines()[-1][:160]
        terminalreporter.write_line(docker.banner("NOTHING WAS TESTED AGAINST MYSQL", why), red=True, bold=True)
