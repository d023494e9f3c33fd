"""README's section on Docker is true: its commands run one after the other as they stand there; only images differ."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docker as images
from tests.support import product, readme
from tests.support.product import Project

pytestmark = pytest.mark.timeout(900)

FOLDER = "/srv/kimai"
"""Where README's commands put the project."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An empty folder in FOLDER's stead, but for the override that swaps images."""
    ready = tmp_path_factory.mktemp("made")
    server = images.mariadb()
    swapped = {"docker-proxy": images.haproxy(), "sqldb": server, "drill-db": server, "kimai": images.kimai()}
    made = Project.make(ready, swapped)
    folder = tmp_path_factory.mktemp("readme")
    (ready / "compose.override.yml").rename(folder / "compose.override.yml")
    found = Project(folder, made.name)
    try:
        yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def environment(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The user's, but that `docker build` has BuildKit, which an old engine's own client alone has."""
    client, variables = images.builder()
    shim = tmp_path_factory.mktemp("bin") / "docker"
    real = subprocess.run(["which", "docker"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    shim.write_text(f'#!/bin/sh\n[ "$1" = build ] && exec {client} "$@"\nexec {real} "$@"\n')
    shim.chmod(0o755)
    return {**variables, **project.environment, "DOCKER_BUILDKIT": "1", "PATH": f"{shim.parent}:{os.environ['PATH']}"}


def follow(project: Project, environment: dict[str, str], title: str, start: Path) -> str:
    """The commands below a heading, in the project's folder instead of README's."""
    return readme.follow("".join(readme.blocks(title)).replace(FOLDER, str(project.folder)), start, environment)


def test_set_up_then_back_up_then_restore_on_empty_volumes(project: Project, environment: dict[str, str]) -> None:
    images.base()
    said = follow(project, environment, "Set up", images.ROOT)
    assert "FAIL" not in said
    assert (project.folder / ".env").stat().st_mode & 0o777 == 0o600
    assert (project.folder / "secrets/mysql_root_password").stat().st_mode & 0o777 == 0o600
    [password] = re.findall(r"DATABASE_PASSWORD=([0-9a-f]{48})\n", (project.folder / ".env").read_text())
    assert password not in images.docker("inspect", project.container("backup"))
    assert images.image_id(product.IMAGE)
    said = follow(project, environment, "Back up", project.folder)
    [backup] = re.findall(r"^(kimai_kimai_2\.66\.0_\w+)  ", said, re.MULTILINE)[:1]
    assert re.search(rf"^{backup} .* whole$", said, re.MULTILINE)
    assert (project.folder / f"backups/{backup}.zip").stat().st_mode & 0o777 == 0o600
    for block in readme.blocks("Prove it"):
        said = readme.follow(block, project.folder, environment)
        assert "proven: equal, row for row" in said
    # The second way has taken it away again.
    assert not project.container("drill-db")
    template = "/opt/kimai/var/invoices/own.html.twig"
    project.compose("exec", "-T", "kimai", "sh", "-c", f"echo mine > {template} && chown www-data: {template}")
    follow(project, environment, "Back up", project.folder)
    assert project.compose("--profile", "*", "down", "--volumes").returncode == 0
    said = follow(project, environment, "Restore", project.folder)
    assert "would load database.sql" in said
    assert "is restored." in said
    found = project.compose("exec", "-T", "kimai", "sh", "-c", f"cat {template}; stat -c %U {template}").stdout
    assert found == "mine\nwww-data\n"
    # Nothing that the road needs is refused.
    assert " 403 " not in project.compose("logs", "docker-proxy").stdout
