"""Throwaway database servers for tests, demo and bench: own data folder, free port on loopback, gone afterwards."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import pymysql

from sidecar.database import tls
from tests.support.ramdisk import new_folder

START_DEADLINE = 60
INSTALL_DEADLINE = 120


@dataclass
class Server:
    """A running server and how its root user signs in; `databases` made through it are dropped by whoever made them."""

    host: str
    port: int
    user: str = "root"
    password: str = ""
    flavour: str = "mariadb"
    process: "subprocess.Popen[bytes] | None" = None
    folder: Path | None = None
    options: list[str] = field(default_factory=list)
    init_command: str | None = None
    """What the tests' own sessions begin with."""
    dump_program: ClassVar[Sequence[str]] = ("mariadb-dump", "--skip-ssl")
    load_program: ClassVar[Sequence[str]] = ("mariadb", "--skip-ssl")

    def admin(self, database: str | None = None, **options: Any) -> Any:
        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            init_command=self.init_command,
            defer_connect=True,
            ssl_disabled=True,
            **options,
        )
        # Not PyMySQL's way, which reads all authorities that this system knows, for each connection.
        tls.prepare(connection, "preferred", None)
        connection.connect()
        return connection

    def run(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.admin(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def url(self, database: str, user: str | None = None, password: str | None = None) -> str:
        name = quote(user if user is not None else self.user, safe="")
        secret = quote(password if user is not None and password is not None else self.password, safe="")
        return f"mysql://{name}:{secret}@{self.host}:{self.port}/{quote(database, safe='')}"

    def client(self, *arguments: str) -> list[str]:
        """The beginning of a native client's command line that reaches this server."""
        program, *rest = arguments
        account = [f"--host={self.host}", f"--port={self.port}", f"--user={self.user}", "--protocol=TCP"]
        return [program, "--no-defaults", *account, *rest]

    def native_dump(self, database: str, *options: str) -> bytes:
        """What the native client says is in the database: the oracle of the round trips."""
        command = self.client(
            *self.dump_program, "--single-transaction", "--routines", "--triggers", "--events", "--skip-dump-date",
            "--hex-blob", "--default-character-set=utf8mb4", "--max-allowed-packet=1G", *options, database,
        )  # fmt: skip
        environment = {**os.environ, "MYSQL_PWD": self.password}
        return subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300).stdout

    def native_load(
        self,
        database: str,
        sql: bytes,
        options: Sequence[str] = ("--default-character-set=utf8mb4", "--binary-mode", "--max-allowed-packet=1G"),
    ) -> None:
        """Let the native client load the text; it must have nothing to say."""
        command = self.client(*self.load_program, *options, database)
        environment = {**os.environ, "MYSQL_PWD": self.password}
        done = subprocess.run(command, input=sql, capture_output=True, env=environment, timeout=600, check=False)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode(errors="replace")

    def kill(self) -> None:
        """As a power cut does it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def start_again(self) -> None:
        """After `kill`: on the same folder, as an admin does once the power is back."""
        assert self.process is not None
        assert self.folder is not None
        command = [str(each) for each in self.process.args]  # type: ignore[union-attr]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        wait_for(self, self.folder / "log")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def mariadb(*options: str, durable: bool = False) -> Server:
    """Start a MariaDB server of Debian's, without passwords, on a free port of loopback.

    `durable`: on a disk, and waiting for it, as in earnest. The others survive being killed, and no power cut.
    """
    prefix = "kimai-backup-mariadb-"
    folder = Path(tempfile.mkdtemp(prefix=prefix)) if durable else new_folder(prefix)
    unsynced = [] if durable else ["--debug-no-sync"]
    account = ["--user=root"] if os.geteuid() == 0 else []
    # A server that starts, also to install, removes other servers' temporary tables from a folder that they share.
    (folder / "tmp").mkdir(mode=0o777)
    _install(folder, [*account, *unsynced])
    port = free_port()
    settings = [
        f"--tmpdir={folder / 'tmp'}",
        f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}",
        f"--port={port}", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=256M", "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=2", "--innodb-log-file-size=128M", "--event-scheduler=ON",
    ]  # fmt: skip
    program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    command = [program, "--no-defaults", *account, *settings, *unsynced, *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    server = Server("127.0.0.1", port, process=process, folder=folder, options=list(options))
    try:
        wait_for(server, folder / "log")
        server.run("DELETE FROM mysql.global_priv WHERE User = ''", "FLUSH PRIVILEGES")
    except BaseException:
        server.stop()
        raise
    return server


def _install(folder: Path, options: list[str]) -> None:
    """Make the data folder; interrupted, nothing of what makes it goes on writing."""
    command = [
        "mariadb-install-db", "--no-defaults", *options, f"--datadir={folder / 'data'}",
        "--auth-root-authentication-method=normal", "--skip-test-db",
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=environment
    ) as process:
        try:
            said, _ = process.communicate(timeout=INSTALL_DEADLINE)
        except BaseException:
            # A shell script: what does the work is its child.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)
            raise
    if process.returncode != 0:
        raise RuntimeError(f"mariadb-install-db failed:\n{said.decode(errors='replace')[-2000:]}")


def mysql_from(url: str) -> Server:
    """A MySQL server that already runs somewhere and that the tests may fill with databases."""
    parts = urlsplit(url)
    return Server(parts.hostname or "", parts.port or 3306, parts.username or "root", parts.password or "", "mysql")


def wait_for(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while True:
        try:
            server.run("SELECT 1")
        except pymysql.err.OperationalError as error:
            gone = server.process is not None and server.process.poll() is not None
            if gone or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the database server did not start: {error}\n{said}") from error
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(*options: str, durable: bool = False) -> Iterator[Server]:
    server = mariadb(*options, durable=durable)
    try:
        yield server
    finally:
        server.stop()
