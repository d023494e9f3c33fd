"""`compose.example.yml` brought to life for a whole story: filled, backed up, lost, restored, compared."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import docker as images
from tests.support import instance, product, servers, story_files
from tests.support.cli import Ran, check_manners, poll
from tests.support.compose import Database, Project

DATABASES = {"mariadb": (images.mariadb, ("11.8",)), "mysql": (images.mysql, ("9", "10"))}
"""The image of each flavour, and the major versions of which one must answer."""

SERVICES = ("sqldb", "docker-proxy", "kimai", "backup")
"""All but `restore`, which runs when it is asked to, and `drill-db`, which is to be switched on."""

SAMPLE = os.environ.get("KIMAI_SAMPLE_SQL", "")
"""A real Kimai's dump, where this names one."""

SECRETS = (product.PASSWORD, product.ROOT_PASSWORD)

_LOGIN = (
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8001, timeout=15); "
    "c.request('GET', '/en/login'); print(c.getresponse().status)"
)

DOCUMENTED = """\
# Volumes as Kimai's documentation has them: what isn't named here lies in the anonymous volume of the image.
services:
  kimai:
    volumes: !override ["data:/opt/kimai/var/data", "plugins:/opt/kimai/var/plugins"]
  backup:
    volumes: !override
      - "data:/opt/kimai/var/data:ro"
      - "plugins:/opt/kimai/var/plugins:ro"
      - "./backups:/backups"
      - "state:/var/lib/kimai-backup"
  restore:
    volumes: !override
      - "data:/opt/kimai/var/data"
      - "plugins:/opt/kimai/var/plugins"
      - "./backups:/backups"
      - "state:/var/lib/kimai-backup"
"""


@dataclass
class Story:
    """One project of the example: Kimai, its database, the proxy, `backup`, and `restore` on demand."""

    project: Project
    database: Database
    folder: Path
    secrets: tuple[str, ...] = SECRETS
    """What no command may ever say."""

    # ── Its parts ────────────────────────────────────────────────────────────────────────────────────────────

    def up(self, *services: str) -> None:
        """Start these, or all that run for good, and wait until they are healthy."""
        self.project.up(*(services or SERVICES))

    def vary(self, name: str, text: str = "") -> None:
        """Lay another override over the two files; an empty text takes it away again. Takes effect at the next `up`."""
        path = self.folder / f"{name}.yml"
        path.write_text(text)
        self.project.files = [each for each in self.project.files if each != path] + ([path] if text else [])

    def run_kimai(self, version: str) -> None:
        """Make Kimai's container anew, of this version."""
        self.vary("version", f"services:\n  kimai: {{image: '{images.kimai(version)}'}}\n")
        self.up("kimai")

    def change_proxy(self, text: str = "") -> None:
        """Make the proxy anew, of an override's text; without one it is the example's own again."""
        self.vary("proxy", text)
        self.project.compose("rm", "--stop", "--force", "docker-proxy")
        self.project.up("docker-proxy", wait=False)
        answers = "import socket; socket.create_connection(('docker-for-backup', 2375), 2)"
        poll(lambda: self.project.exec("backup", "python3", "-c", answers).code == 0, "the proxy answers")

    # ── What users do ────────────────────────────────────────────────────────────────────────────────────────

    def command(self, *arguments: str) -> Ran:
        """`docker compose exec backup kimai-backup …`; no secret is ever said."""
        return self._said(self.project.exec("backup", "kimai-backup", *arguments))

    def once(self, *arguments: str, **settings: str) -> Ran:
        """A one-off container of `backup` with other settings, the containers around it as they are."""
        options = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        return self._said(self.project.run("backup", *arguments, options=["--no-deps", *options]))

    def backup(self) -> tuple[Ran, Any]:
        """A backup that must end with 0: what it said, and its manifest."""
        ran = self.command("backup")
        assert ran.code == 0, ran.said
        return ran, self.manifest()

    def restore(self, *arguments: str) -> Ran:
        """`docker compose run --rm restore …`."""
        return self._said(self.project.run("restore", *arguments, deadline=240))

    def _said(self, ran: Ran) -> Ran:
        check_manners(ran._replace(err=_without_compose(ran.err)), self.secrets)
        assert not [secret for secret in self.secrets if secret in ran.err]
        return ran

    # ── What is there ────────────────────────────────────────────────────────────────────────────────────────

    def backups(self) -> list[str]:
        """Every name in the folder for backups, hidden ones too."""
        return sorted(path.name for path in (self.folder / "backups").iterdir())

    def growing(self) -> list[str]:
        """The archives that a backup under way, or one that was killed, has begun."""
        return [name for name in self.backups() if name.startswith(".")]

    def manifest(self) -> Any:
        """That of the newest backup."""
        newest = max((self.folder / "backups").glob("*.json"), key=lambda path: path.name)
        return json.loads(newest.read_text())

    def in_kimai(self, *command: str, stdin: bytes = b"") -> str:
        """What a command prints that is run as root in Kimai's container; it must end with 0."""
        ran = self.project.exec("kimai", *command, stdin=stdin)
        assert ran.code == 0, ran.said
        return ran.out

    def files(self) -> dict[str, Any]:
        """All of Kimai's files, as seen in its container."""
        source = Path(story_files.__file__).read_bytes()
        found: dict[str, Any] = json.loads(self.in_kimai("python3", "-I", "-", "look", stdin=source))
        return found

    def app(self) -> tuple[str, str, str]:
        """Kimai's container and its last start: the same as long as nobody stopped it."""
        found = self.project.inspect("kimai")
        return found["Id"], found["State"]["StartedAt"], found["State"]["Status"]

    def login_status(self) -> int:
        """How Kimai's login page answers."""
        return int(self.in_kimai("python3", "-c", _LOGIN))

    def app_secret(self) -> str:
        return self.in_kimai("cat", "/opt/kimai/var/data/.appsecret").strip()

    def one_offs(self) -> list[str]:
        """The containers that `docker compose run` made and that are still there."""
        ours = f"label=com.docker.compose.project={self.project.name}"
        return images.docker("ps", "-aq", "--filter", ours, "--filter", "label=com.docker.compose.oneoff=True").split()

    # ── Its content ──────────────────────────────────────────────────────────────────────────────────────────

    def write_files(self) -> None:
        """Files of every kind in every place."""
        self.in_kimai("python3", "-I", "-", "fill", stdin=Path(story_files.__file__).read_bytes())

    def load_sample(self) -> None:
        """A real Kimai's database where there is one, else one of the same kind; Kimai then runs on it."""
        self.project.stop("kimai")
        self.empty_database()
        if SAMPLE:
            self.database.load(Path(SAMPLE).read_bytes())
        else:
            self.make_rows(500)
            # Whom Kimai's entrypoint would add otherwise, where ADMINPASS is set.
            self.database.query("UPDATE kimai2_users SET username = 'admin' WHERE id = 1")
        self.project.start("kimai")
        self.project.wait("kimai", "healthy")

    def make_rows(self, timesheets: int) -> None:
        """The tables that matter, and so many timesheets, made by the server itself."""
        address = self.project.address("sqldb")
        server = servers.mysql_from(f"mysql://root:{product.ROOT_PASSWORD}@{address}:3306")
        instance.fill(instance.Instance(server, "kimai", "kimai", product.PASSWORD, self.folder), timesheets)

    def install_anew(self) -> None:
        """A Kimai that has just installed itself, on the volumes as they are."""
        self.project.stop("kimai")
        self.empty_database()
        self.project.start("kimai")
        self.project.wait("kimai", "healthy")

    def empty_database(self) -> None:
        """As a new one is: not a table in it."""
        tables = self.database.tables()
        dropped = "".join(f"DROP TABLE `{name}`;" for name in tables)
        if tables:
            self.database.query(f"SET foreign_key_checks = 0; {dropped}")


@contextlib.contextmanager
def story(folder: Path, flavour: str) -> Iterator[Story]:
    """A project of the example with a database of this flavour, nothing started yet; gone afterwards."""
    product.image()
    server = DATABASES[flavour][0]()
    swapped = {"docker-proxy": images.haproxy(), "sqldb": server, "drill-db": server, "kimai": images.kimai()}
    made = product.Project.make(folder, swapped)
    project = Project(
        [folder / "compose.yml", folder / "compose.override.yml"],
        folder,
        {"KIMAI_PORT": "0"},
        name=made.name,
        profiles=("restore",),
    )
    database = Database(project, flavour, root_password=product.ROOT_PASSWORD)
    try:
        yield Story(project, database, folder)
    except BaseException:
        with contextlib.suppress(images.DockerError):
            print(f"── the logs of {project.name} ──\n{project.logs()[-8000:]}")
        raise
    finally:
        if not os.environ.get("KIMAI_TEST_KEEP"):
            project.down()


# ── The proxy, changed ───────────────────────────────────────────────────────────────────────────────────────


def proxy_without(pattern: str) -> str:
    """An override whose proxy lets through what the example's does, but for the rules that match."""
    kept = [line for line in _proxy_lines() if not ("http-request allow" in line and re.search(pattern, line))]
    assert len(kept) < len(_proxy_lines()), pattern
    return _PROXY + "".join(kept)


def proxy_with(rule: str) -> str:
    """An override whose proxy has one more rule, before all others of `restore`."""
    text = "".join(_proxy_lines())
    first, found, rest = text.partition("bind docker-for-restore:2375\n")
    assert found
    return f"{_PROXY}{first}{found}        {rule}\n{rest}"


_PROXY = "configs:\n  docker-proxy:\n    content: |\n"


def _proxy_lines() -> list[str]:
    text = (images.ROOT / "compose.example.yml").read_text()
    _, _, configs = text.partition("\nconfigs:\n")
    _, _, own = configs.partition("  docker-proxy:\n")
    _, found, content = own.partition("    content: |\n")
    assert found
    return [line for line in content.splitlines(keepends=True) if not line.strip() or line.startswith("      ")]


# ── Comparing ────────────────────────────────────────────────────────────────────────────────────────────────


def as_started(files: dict[str, Any]) -> dict[str, Any]:
    """Files as they are once Kimai has started.

    Its entrypoint gives all of `var` to the web user, and writes `.env.local` anew, with the secret that it finds.
    """
    found = {path: {**each} for path, each in files.items()}
    for path, each in found.items():
        if path.startswith("var/"):
            each["owner"] = [33, 33]
        if path == ".env.local":
            each["mtime"] = 0
    return found


def is_led_outside(path: str) -> bool:
    """Whether a path is one of the links that lead out of Kimai, which no restore brings back."""
    return os.fsencode(path).endswith(story_files.OUTSIDE)


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Each path that isn't the same, with both states."""
    return {
        path: (before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    }


def end_by(process_id: int, number: int = signal.SIGKILL) -> None:
    """End a container's first process as the kernel would: for `docker kill` it counts as stopped by hand."""
    assert process_id > 1
    os.kill(process_id, number)


def _without_compose(text: str) -> str:
    """The lines that Compose itself adds on stderr (` Container … Running`) are none of ours."""
    return "\n".join(line for line in text.splitlines() if line.startswith(("kimai-backup: ", '{"time": ')))
