"""The commands as users run them: real processes, real folders, a database and an account of their own."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import instance as instances
from tests.support.kimai import whole
from tests.support.servers import Server

COMMAND = Path(sys.executable).parent / "kimai-backup"
DEADLINE = 90
"""Seconds for one command: none in the tests has so much to do."""


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that told the user why it failed."""
        return [line for line in self.err.splitlines() if line.startswith("kimai-backup: ")]

    @property
    def said(self) -> str:
        """Both streams, for tests that look for a word."""
        return self.out + self.err

    def json(self) -> Any:
        return json.loads(self.out)


def check_manners(ran: Ran, secrets: Sequence[str]) -> None:
    """What holds of every command, however it ends: no traceback, no secret, one line for an error."""
    assert "Traceback" not in ran.said, ran.said
    for secret in secrets:
        assert secret not in ran.said, ran.said
    for line in ran.err.splitlines():
        assert line.startswith(("kimai-backup: ", '{"time": ')) or ran.code == 2, ran.err
    if ran.code in (5, 6, 8, 9, 10, 130):
        assert len(ran.errors) <= 1, ran.err
    assert "unexpected fault" not in ran.said, ran.said


def without_rights() -> list[str]:
    """A command line's beginning that takes from root the right to read and write everything."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def poll(condition: Callable[[], Any], what: str, deadline: float = 60) -> Any:
    """Wait until something is so, and give it; fails after the deadline, in seconds."""
    ends = time.monotonic() + deadline
    while time.monotonic() < ends:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"it never happened: {what}")


@dataclass
class Site:
    """A Kimai with its database, a folder for backups and one for state, as an admin would have them."""

    folder: Path
    server: Server
    database: str
    user: str
    password: str
    port: int = 0
    extra: dict[str, str] = field(default_factory=dict)
    remembered: tuple[Any, Any] | None = None

    @property
    def root(self) -> Path:
        return self.folder / "kimai"

    @property
    def instance(self) -> instances.Instance:
        return instances.Instance(self.server, self.database, self.user, self.password, self.root)

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def url(self) -> str:
        return self.instance.url.replace(f":{self.server.port}/", f":{self.port or self.server.port}/")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "KIMAI_DIR": str(self.root),
            "BACKUP_DIR": str(self.backups),
            "BACKUP_STATE_DIR": str(self.state),
            # Several tests at once would meet at the daemon's one port.
            "HTTP_LISTEN": "",
            **self.extra,
        }

    # ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, *arguments: str, prefix: Sequence[str] = (), **settings: str) -> Ran:
        """Run a command to its end; settings come on top of the site's own."""
        done = subprocess.run(
            [*prefix, str(COMMAND), *arguments],
            env=self.environment | settings,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
            cwd=self.folder,
        )
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        check_manners(ran, self.secrets)
        return ran

    def start(self, *arguments: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a command and let it run; `ended` tells how it ended."""
        return subprocess.Popen(
            [str(COMMAND), *arguments],
            env=self.environment | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
        )

    def ended(self, process: "subprocess.Popen[bytes]", deadline: float = DEADLINE) -> Ran:
        out, err = process.communicate(timeout=deadline)
        ran = Ran(process.returncode, out.decode(), err.decode())
        check_manners(ran, self.secrets)
        return ran

    def backup(self, *arguments: str, code: int = 0, **settings: str) -> str:
        """Make a backup, and give its ID."""
        before = set(self.ids())
        ran = self.run("backup", *arguments, **settings)
        assert ran.code == code, ran.said
        (new,) = set(self.ids()) - before
        return new

    @property
    def secrets(self) -> list[str]:
        from urllib.parse import quote

        return [self.password, quote(self.password, safe="")]

    # ── What is there ────────────────────────────────────────────────────────────────────────────────────────

    def shelf(self) -> list[str]:
        """Every name in the backup folder, hidden ones too."""
        return sorted(path.name for path in self.backups.iterdir())

    def ids(self) -> list[str]:
        """The backups that have both zip, encrypted or not, and manifest."""
        names = set(self.shelf())
        zips = (name.removesuffix(".age") for name in names if name.endswith((".zip", ".zip.age")))
        return sorted(name[:-4] for name in zips if f"{name[:-4]}.json" in names)

    def rows(self) -> dict[str, Any]:
        """Rows and checksum of each table, by the server's own word."""
        return instances.tables(self.instance)

    def objects(self) -> list[Any]:
        """Everything that stands in the database."""
        sql = (
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{0}' UNION "
            "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{0}' UNION "
            "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{0}'"
        )
        return [row[0] for row in self.server.run(sql.format(self.database))]

    def files(self) -> dict[str, tuple[Any, ...]]:
        """Kimai's folder: kind, mode, owner, content, time; without the cache, which Kimai makes anew."""
        skipped = ("var/cache", "bin/standin-fault")
        found = whole(self.root)
        # Folders on the way to user data are Kimai's own; making and removing things in them changes their times.
        passing = {"bin", "config", "config/packages", "var"}
        return {
            name: values[:4] if name in passing else values
            for name, values in found.items()
            if not name.startswith(skipped)
        }

    def traces(self) -> list[str]:
        """Folders and journals of a restore that is under way, or was killed."""
        staged = [str(path.relative_to(self.root)) for path in self.root.rglob(".kimai-backup*")]
        notes = [path.name for path in self.state.glob("*.restore.*")] if self.state.is_dir() else []
        return sorted(staged) + notes

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.run(*statements, database=self.database)

    def remember(self) -> None:
        """Keep how database and files are now, for `assert_restored`."""
        self.remembered = (self.rows(), self.files())

    def assert_restored(self) -> None:
        """Every row and every file is as it was, and no restore has left a trace."""
        assert (self.rows(), self.files()) == self.remembered
        assert self.traces() == []

    # ── What befalls it ──────────────────────────────────────────────────────────────────────────────────────

    def lose_database(self) -> None:
        self.server.run(
            f"DROP DATABASE IF EXISTS {self.database}",
            f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        )

    def lose_files(self) -> None:
        """All user data but `.env`, as a fresh install has it."""
        for name in ("var/data", "var/invoices", "var/export", "var/plugins"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / "config/packages/local.yaml").unlink(missing_ok=True)

    def lose_all(self) -> None:
        self.lose_database()
        self.lose_files()

    def point_env_at(self, url: str) -> None:
        (self.root / ".env").write_text(f'DATABASE_URL="{url}"\nAPP_ENV=prod\nAPP_SECRET=\nMAILER_URL=null://null\n')

    def end(self) -> None:
        self.server.run(f"DROP DATABASE IF EXISTS {self.database}", f"DROP USER IF EXISTS '{self.user}'@'%'")


def make_site(folder: Path, server: Server, *, timesheets: int = 300, rights: str = instances.RIGHTS) -> Site:
    """A Kimai of that many timesheets, its files and console, its database account with rights on its own alone."""
    name = f"kimai_{secrets.token_hex(5)}"
    site = Site(folder, server, name, name, instances.PASSWORD)
    instances.create_database(site.instance)
    instances.create_user(site.instance, rights)
    instances.fill(site.instance, timesheets)
    instances.install_code(site.root)
    # Without it the console alone tells the version.
    (site.root / "version.txt").unlink()
    instances.write_files(site.instance)
    site.backups.mkdir()
    return site
