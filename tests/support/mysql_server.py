"""Throwaway MySQL servers for tests: a container each, a free port on loopback, gone afterwards.

MySQL is in no suite of Debian's but sid, so that its server and its clients are where its image is.
"""

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pymysql
import pytest

from tests.support import docker
from tests.support.servers import START_DEADLINE, Server, free_port

PASSWORD = "r00t"
MAJORS = (9, 10)
"""What the suite that the image is made of may hold: it moves on."""

_NAMES = "kbtmysql"
_LEFT_OVER = timedelta(hours=3)
"""So old is no server of a run that goes on."""
_SETTINGS = [
    "--event-scheduler=ON",
    "--innodb-buffer-pool-size=256M",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--mysqlx=OFF",
]


def why_there_is_none() -> str:
    """Empty where its image can be had. In CI it raises pytest.UsageError: green must mean that MySQL was tested."""
    try:
        docker.mysql()
    except docker.Unavailable as error:
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(f"CI forbids to go on without MySQL: {error}") from error
        return str(error)
    return ""


class MysqlServer(Server):
    """A MySQL in a container, with MySQL's own clients as the oracle."""

    dump_program = ("mysqldump", "--set-gtid-purged=OFF", "--no-tablespaces")
    load_program = ("mysql",)

    def __init__(self, container: str, port: int, options: list[str]) -> None:
        super().__init__("127.0.0.1", port, "root", PASSWORD, "mysql", options=options)
        self.container = container

    def client(self, *arguments: str) -> list[str]:
        """The beginning of a command line that runs MySQL's own client beside the server."""
        program, *rest = arguments
        account = ["--no-defaults", "--socket=/run/mysqld/mysqld.sock", f"--user={self.user}"]
        return ["docker", "exec", "--interactive", "--env", "MYSQL_PWD", self.container, program, *account, *rest]

    def kill(self) -> None:
        docker.docker("kill", self.container)

    def start_again(self) -> None:
        docker.docker("start", self.container)
        _wait_for(self)

    def stop(self) -> None:
        docker.docker("rm", "--force", "--volumes", self.container)


def mysql(*options: str) -> MysqlServer:
    """Start a MySQL server; raises docker.Unavailable where its image can't be made."""
    _sweep()
    name, image = f"{_NAMES}{uuid.uuid4().hex[:10]}", docker.mysql()
    # Not one that the engine chooses: it would choose another when the server is started again.
    port = free_port()
    settings = ["--env", f"MYSQL_ROOT_PASSWORD={PASSWORD}", "--publish", f"127.0.0.1:{port}:3306"]
    try:
        docker.docker("run", "--detach", "--name", name, *settings, image, *_SETTINGS, *options)
        server = MysqlServer(name, port, list(options))
        _wait_for(server)
        _check(server)
    except BaseException:
        docker.docker("rm", "--force", "--volumes", name)
        raise
    return server


def _sweep() -> None:
    """Remove the servers of test runs that were killed."""
    for container in docker.docker("ps", "--all", "--quiet", "--filter", f"name=^{_NAMES}").split():
        with contextlib.suppress(docker.DockerError):  # it has gone meanwhile
            created = docker.docker("inspect", "--format", "{{.Created}}", container)[:19]
            if datetime.now(UTC) - datetime.fromisoformat(f"{created}+00:00") > _LEFT_OVER:
                docker.docker("rm", "--force", "--volumes", container)


def _wait_for(server: MysqlServer) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while True:
        try:
            server.run("SELECT 1")
        except pymysql.err.OperationalError as error:
            running = docker.docker("inspect", "--format", "{{.State.Running}}", server.container).strip() == "true"
            if not running or time.monotonic() > deadline:
                raise RuntimeError(f"MySQL did not start: {error}\n{_log(server.container)}") from error
            time.sleep(0.1)
        else:
            return


def _log(container: str) -> str:
    done = subprocess.run(
        ["docker", "logs", "--tail", "50", container],
        env=docker.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=docker.COMMAND_DEADLINE,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def _check(server: MysqlServer) -> None:
    version, comment = server.run("SELECT VERSION(), @@version_comment")[0]
    assert "mariadb" not in f"{version} {comment}".lower(), version
    assert int(version.split(".")[0]) in MAJORS, version


@contextlib.contextmanager
def running(*options: str) -> Iterator[MysqlServer]:
    server = mysql(*options)
    try:
        yield server
    finally:
        server.stop()
