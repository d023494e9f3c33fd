"""The product as users get it: its image by its own Dockerfile, and a compose project of `compose.example.yml`."""

import functools
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import docker as images

ROOT = images.ROOT
IMAGE = "kimai-backup/kimai-backup:latest"
PASSWORD = "d4tabase.Passw0rd"
ROOT_PASSWORD = "r00t.Passw0rd"


@functools.cache
def image() -> str:
    """Build the image as README's command does; from the second time on the engine's cache makes it quick."""
    images.base()
    client, variables = images.builder()
    # As the Dockerfile says: for a machine that has its package index from settings of its own.
    own_index = os.environ.get("PIP_CONFIG_FILE")
    secret = ["--secret", f"id=pipconf,src={own_index}"] if own_index else []
    done = subprocess.run(
        [client, "build", "--progress=plain", *secret, "--tag", IMAGE, str(ROOT)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=images.BUILD_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-6000:]
    return IMAGE


@dataclass
class Project:
    """`compose.example.yml` as it is, in a folder made ready as README says; an override swaps images, no more."""

    folder: Path
    name: str

    @classmethod
    def make(cls, folder: Path, swapped: Mapping[str, str]) -> "Project":
        """`swapped`: the image for each service whose own image can't be had here."""
        shutil.copy(ROOT / "compose.example.yml", folder / "compose.yml")
        services = {"backup": IMAGE, "restore": IMAGE, **swapped}
        lines = [f"  {service}: {{image: '{tag}', pull_policy: never}}\n" for service, tag in services.items()]
        (folder / "compose.override.yml").write_text("services:\n" + "".join(lines))
        (folder / ".env").write_text(f"DATABASE_PASSWORD={PASSWORD}\n")
        (folder / "backups").mkdir(mode=0o700)
        (folder / "secrets").mkdir(mode=0o700)
        (folder / "secrets/mysql_root_password").write_text(ROOT_PASSWORD)
        return cls(folder, f"kbtest{uuid.uuid4().hex[:8]}")

    @property
    def environment(self) -> dict[str, str]:
        """What its commands run with: a name that is nobody else's, and any port that is free."""
        return {**images.environment(), "COMPOSE_PROJECT_NAME": self.name, "KIMAI_PORT": "0"}

    def compose(self, *arguments: str, deadline: float = 300) -> subprocess.CompletedProcess[str]:
        """One `docker compose` command, whatever its exit code; TimeoutExpired after the deadline in seconds."""
        return subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
        )

    def up(self, *services: str) -> None:
        """Start these services, or all of them, and wait until they are healthy."""
        done = self.compose("up", "--detach", "--no-build", "--wait", *services)
        assert done.returncode == 0, done.stderr + self.compose("logs").stdout

    def down(self) -> None:
        """Remove its containers, networks and volumes."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")

    def container(self, service: str) -> str:
        """The ID of a service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.strip()

    def address(self, service: str, network: str) -> str:
        """A service's address in one of the project's networks."""
        place = f'{{{{(index .NetworkSettings.Networks "{self.name}_{network}").IPAddress}}}}'
        return images.docker("inspect", "--format", place, self.container(service)).strip()
