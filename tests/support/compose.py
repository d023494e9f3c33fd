"""Compose projects for tests: a name of its own each, a deadline on every call, nothing left afterwards."""

import contextlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import docker
from tests.support.cli import Ran

DEADLINE = 120
"""Seconds for one call, unless it says otherwise."""

UP_DEADLINE = 180


@dataclass
class Project:
    """A compose project: `docker compose -p NAME -f FILE…` in a folder, with variables of its own."""

    files: Sequence[Path]
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the compose files ask for, beside the tests' own environment."""
    name: str = field(default_factory=lambda: f"kbt{uuid.uuid4().hex[:10]}")
    profiles: Sequence[str] = ()
    """Active at every call, so that `down` reaches their containers too."""

    # ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────

    def command(self, *arguments: str) -> list[str]:
        files = [part for file in self.files for part in ("--file", str(file))]
        profiles = [part for profile in self.profiles for part in ("--profile", profile)]
        where = ["--project-name", self.name, "--project-directory", str(self.folder)]
        return ["docker", "compose", "--progress", "plain", *where, *files, *profiles, *arguments]

    def environment(self) -> dict[str, str]:
        return {**docker.environment(), **self.variables}

    def run_command(self, *arguments: str, stdin: bytes = b"", deadline: float = DEADLINE) -> Ran:
        """Any compose command, its exit code not looked at; raises TimeoutExpired after the deadline in seconds."""
        return _ran(self.command(*arguments), self.environment(), stdin, deadline)

    def compose(self, *arguments: str, stdin: bytes = b"", deadline: float = DEADLINE) -> Ran:
        """The same, and it must end with 0."""
        ran = self.run_command(*arguments, stdin=stdin, deadline=deadline)
        if ran.code != 0:
            raise docker.DockerError(f"compose {' '.join(arguments)}: exit code {ran.code}: {ran.said[-4000:]}")
        return ran

    def start_command(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A compose command that goes on beside the test, both its streams in one pipe; the caller ends it."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def up(self, *services: str, wait: bool = True, deadline: float = UP_DEADLINE) -> None:
        """Start services (all, if none is named) and wait until they are healthy; what they said, if they aren't."""
        waiting = ["--wait", "--wait-timeout", str(int(deadline))] if wait else []
        ran = self.run_command("up", "--detach", "--no-build", *waiting, *services, deadline=deadline + 30)
        if ran.code != 0:
            raise docker.DockerError(f"{self.name} did not come up: {ran.said[-3000:]}\n{self.logs()[-6000:]}")

    def down(self, *, volumes: bool = True, deadline: float = DEADLINE) -> None:
        """Remove the containers and networks, and the volumes too unless told otherwise."""
        kept = ["--volumes"] if volumes else []
        self.compose("down", *kept, "--remove-orphans", "--timeout", "5", deadline=deadline)

    def run(
        self, service: str, *arguments: str, options: Sequence[str] = (), stdin: bytes = b"", deadline: float = DEADLINE
    ) -> Ran:
        """A one-off container, as `docker compose run --rm SERVICE …`; its exit code is the answer."""
        return self.run_command(
            "run", "--rm", "--no-TTY", *options, service, *arguments, stdin=stdin, deadline=deadline
        )

    def exec(
        self, service: str, *arguments: str, options: Sequence[str] = (), stdin: bytes = b"", deadline: float = DEADLINE
    ) -> Ran:
        """A command in a running service; its exit code is the answer."""
        return self.run_command("exec", "--no-TTY", *options, service, *arguments, stdin=stdin, deadline=deadline)

    def kill(self, service: str, signal: str = "KILL") -> None:
        self.compose("kill", "--signal", signal, service)

    def stop(self, *services: str) -> None:
        self.compose("stop", "--timeout", "10", *services)

    def start(self, *services: str) -> None:
        """Start services that were stopped: the same containers, their anonymous volumes and layers."""
        self.compose("start", *services)

    def logs(self, *services: str) -> str:
        """The end of what the containers wrote, both streams."""
        return self.run_command("logs", "--no-color", "--tail", "300", *services).said

    # ── What is there ────────────────────────────────────────────────────────────────────────────────────────

    def container(self, service: str) -> str:
        """The ID of the service's one container, running or not."""
        found = self.compose("ps", "--all", "--quiet", service).out.split()
        assert len(found) == 1, f"{service}: {found}"
        return found[0]

    def inspect(self, service: str) -> Any:
        """What the engine knows of the service's container."""
        return json.loads(docker.docker("container", "inspect", self.container(service)))[0]

    def address(self, service: str) -> str:
        """The container's IP address: reachable from the host, where that host runs the engine."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return str(next(network["IPAddress"] for network in networks.values() if network["IPAddress"]))

    def wait(self, service: str, condition: str, deadline: float = UP_DEADLINE) -> None:
        """Until the container is `healthy`, `unhealthy`, `running`, `exited`, …: its health or its status."""
        _poll(lambda: condition in self.state(service), f"{service} is {condition}", deadline)

    def state(self, service: str) -> set[str]:
        """The container's status, and its health where it has a check."""
        state = self.inspect(service)["State"]
        return {state["Status"], state.get("Health", {}).get("Status", "without a check")}


def _ran(command: Sequence[str], variables: Mapping[str, str], stdin: bytes, deadline: float) -> Ran:
    done = subprocess.run(command, input=stdin, env=variables, capture_output=True, timeout=deadline, check=False)
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _poll(condition: Callable[[], bool], what: str, deadline: float) -> None:
    ends = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"it never happened within {deadline} s: {what}")
        time.sleep(0.25)


@contextlib.contextmanager
def project(
    files: Sequence[Path], folder: Path, *, variables: Mapping[str, str] | None = None, profiles: Sequence[str] = ()
) -> Iterator[Project]:
    """A project that is gone afterwards with its volumes, whatever happened; KIMAI_TEST_KEEP leaves it to look at."""
    made = Project(files, folder, variables or {}, profiles=profiles)
    try:
        yield made
    except BaseException:
        with contextlib.suppress(docker.DockerError, subprocess.TimeoutExpired):
            print(f"── the logs of {made.name} ──\n{made.logs()}")
        raise
    finally:
        if not os.environ.get("KIMAI_TEST_KEEP"):
            made.down()


# ── The database in its container ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Database:
    """The database service of a project, asked by the native client in its own container as its root user."""

    project: Project
    flavour: str
    """`mariadb` or `mysql`, and what must answer."""
    service: str = "sqldb"
    name: str = "kimai"
    root_password: str = "root"

    def client(self, program: str, *arguments: str, stdin: bytes = b"", deadline: float = DEADLINE) -> bytes:
        """The output of `mysql`, `mysqldump` or `mysqladmin`, by the name that the flavour has; it must end with 0."""
        account = ["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--user=root"]
        if self.flavour == "mariadb":
            program = {"mysql": "mariadb", "mysqldump": "mariadb-dump", "mysqladmin": "mariadb-admin"}[program]
            account.append("--skip-ssl")
        else:
            account.append("--get-server-public-key")  # where the server has no TLS
        secret = ["--env", "MYSQL_PWD"]
        command = self.project.command("exec", "--no-TTY", *secret, self.service, program, *account, *arguments)
        done = subprocess.run(
            command,
            input=stdin,
            env={**self.project.environment(), "MYSQL_PWD": self.root_password},
            capture_output=True,
            timeout=deadline,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')[-4000:]}"
        return done.stdout

    def query(self, statement: str, *, database: str | None = None) -> list[list[str]]:
        """Rows as the client prints them: text, `NULL` for nothing, tabs and line ends escaped."""
        out = self.client(
            "mysql", "--batch", "--skip-column-names", "--default-character-set=utf8mb4",
            "--execute", statement, database if database is not None else self.name,
        )  # fmt: skip
        return [line.split("\t") for line in out.decode().splitlines()]

    def load(self, sql: bytes, *, deadline: float = 300) -> None:
        """SQL text as the native client reads it."""
        arguments = ("--default-character-set=utf8mb4", "--binary-mode", self.name)
        self.client("mysql", *arguments, stdin=sql, deadline=deadline)

    def check_who_answers(self, *majors: str) -> str:
        """The server's version; fails unless it is of this flavour and of one of these majors (`11.8`, `9`)."""
        version, comment = self.query("SELECT VERSION(), @@version_comment", database="")[0]
        answered = "mariadb" if "mariadb" in version.lower() else "mysql"
        assert answered == self.flavour, f"{version} ({comment}) answered, not {self.flavour}"
        assert any(version.startswith(f"{major}.") for major in majors), f"{version} is none of {majors}"
        return version

    def tables(self) -> list[str]:
        return [
            row[0]
            for row in self.query(
                "SELECT TABLE_NAME FROM information_schema.TABLES "
                f"WHERE TABLE_SCHEMA = '{self.name}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME"
            )
        ]

    def checksums(self) -> dict[str, tuple[int, int]]:
        """Each table's rows and the server's own CHECKSUM TABLE: it knows nothing of kimai-backup."""
        names = self.tables()
        if not names:
            return {}
        counts = " UNION ALL ".join(f"SELECT '{name}', COUNT(*) FROM `{name}`" for name in names)
        rows = {name: int(count) for name, count in self.query(counts)}
        sums = self.query(f"CHECKSUM TABLE {', '.join(f'`{name}`' for name in names)} EXTENDED")
        return {name.rpartition(".")[2]: (rows[name.rpartition(".")[2]], int(value)) for name, value in sums}
