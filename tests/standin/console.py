"""This is a stand-in for Kimai's `bin/console`. It is not Kimai.

It answers the commands that kimai-backup gives, with the exit codes, the streams and the wording that were measured
on a running Kimai 2.66.0, lying exit codes included, and asks the real database that DATABASE_URL names. It shares
no code with kimai-backup, so that neither can hide the other's mistake.

`bin/standin.json` says which Kimai it stands in for: `version`, and `migration`, the newest one that its code knows;
`sql`, what its migrations do; `without`, the commands that this version doesn't have.
`bin/standin-fault`, where it is there, makes it misbehave: `hang`, `nonsense`, `fail` or `flood`, and after a space the
one command that does, all if none is named.
"""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "bin"
CACHE = ROOT / "var" / "cache"


class Failed(Exception):
    """How a command ends that does not work: exit code, and what it says on which stream."""

    def __init__(self, exit_code: int, text: str, stream=None) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.stream = stream


def main(arguments: list[str]) -> int:
    command = next((each for each in arguments if not each.startswith("-")), "list")
    misbehave(command)
    commands = {
        "kimai:version": show_version,
        "kimai:reload": reload_configuration,
        "kimai:user:list": list_users,
        "doctrine:migrations:up-to-date": compare_migrations,
        "kimai:install": install,
        "kimai:update": install,
    }
    if command not in commands or command in settings().get("without", ()):
        print(f'\n  Command "{command}" is not defined.\n', file=sys.stderr)
        return 1
    try:
        # A reload builds the cache itself; every other command needs one and builds it if there is none.
        if command != "kimai:reload" and not (CACHE / "prod").is_dir():
            warm_cache()
        return commands[command](arguments)
    except Failed as failure:
        print(f"\n{failure}\n", file=failure.stream or sys.stderr)
        return failure.exit_code


def misbehave(command: str) -> None:
    fault = BIN / "standin-fault"
    if not fault.exists():
        return
    kind, _, only = fault.read_text().strip().partition(" ")
    if only and only != command:
        return
    if kind == "hang":
        print("Thinking about it", flush=True)
        time.sleep(3600)
    elif kind == "nonsense":
        print("PHP 8.2 says: segfault at 7.1 in libfoo, have a nice day")
        sys.exit(0)
    elif kind == "flood":
        for _ in range(200):
            sys.stdout.write("o" * 65536)
            sys.stderr.write("e" * 65536)
        sys.exit(1)
    elif kind == "fail":
        print("\nIn Kernel.php line 42:\n\n  Something is broken.\n", file=sys.stderr)
        sys.exit(1)
    else:
        sys.exit(f"standin-fault: unknown fault {kind!r}")


def settings() -> dict:
    return json.loads((BIN / "standin.json").read_text())


def show_version(arguments: list[str]) -> int:
    version = settings()["version"]
    print(version if "--short" in arguments else f"Kimai {version} by Kevin Papst.")
    return 0


def reload_configuration(arguments: list[str]) -> int:
    check_configuration(sys.stdout)
    check_cache_writable()
    if CACHE.is_dir():
        for each in CACHE.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()
    warm_cache()
    print("\n [OK] Kimai config was reloaded\n")
    return 0


def warm_cache() -> None:
    check_configuration(sys.stderr)
    check_cache_writable()
    folder = CACHE / "prod"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "standin-container.php").write_text("<?php // compiled by the stand-in\n")


def check_cache_writable() -> None:
    place = next(each for each in (CACHE, *CACHE.parents) if each.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise Failed(1, f'In Kernel.php line 642:\n\n  Unable to write in the "cache" directory ({CACHE}).')


def check_configuration(stream) -> None:
    """A broken local.yaml, or a plugin folder of the wrong name, ends every command that has no cache yet."""
    local = ROOT / "config" / "packages" / "local.yaml"
    for number, line in enumerate(local.read_text().splitlines() if local.exists() else [], 1):
        if line.startswith("\t") or line.count('"') % 2 or line.count("{") != line.count("}"):
            raise Failed(1, f" [ERROR] Unable to parse at line {number} in {local}", stream)
    plugins = ROOT / "var" / "plugins"
    for plugin in sorted(plugins.iterdir()) if plugins.is_dir() else []:
        # Symfony's Finder, which Kimai looks for plugins with, passes over names that begin with a dot.
        hidden = plugin.name.startswith(".")
        if plugin.is_dir() and not hidden and not plugin.name.endswith("Bundle"):
            raise Failed(1, f"In Kernel.php line 121:\n\n  Plugin {plugin.name} has no bundle class.")


def list_users(arguments: list[str]) -> int:
    with connect(255) as connection, connection.cursor() as cursor:
        newest = newest_in_database(cursor)
        if newest is None or newest < settings()["migration"]:
            raise Failed(
                255, "SQLSTATE[42S22]: Column not found: 1054 Unknown column 'k0_.totp_secret' in 'field list'"
            )
        cursor.execute("SELECT username FROM kimai2_users ORDER BY username")
        for (name,) in cursor.fetchall():
            print(f"  {name}")
    return 0


def compare_migrations(arguments: list[str]) -> int:
    known = settings()["migration"]
    with connect(1) as connection, connection.cursor() as cursor:
        newest = newest_in_database(cursor)
    if newest is not None and newest > known:
        print(
            "\n [ERROR] You have 1 previously executed migration in the database that is not a registered migration.\n"
        )
        return 2 if {"-u", "--fail-on-unregistered"} & set(arguments) else 0
    if newest is None or newest < known:
        print("\n [WARNING] Out-of-date! 8 migrations are available to execute.\n")
        return 1
    print("\n [OK] Up-to-date! No migrations to execute.\n")
    return 0


def install(arguments: list[str]) -> int:
    """Migrate the database; of one that is newer than the code it only warns. Its errors come on stdout."""
    known = settings()["migration"]
    try:
        with connect(1) as connection, connection.cursor() as cursor:
            newest = newest_in_database(cursor)
            if newest is not None and newest > known:
                print("\n [WARNING] You have 1 previously executed migration that is not registered.\n")
            elif newest == known:
                print("\n [OK] Already at the latest version\n")
            else:
                migrate(cursor, known)
                connection.commit()
    except Failed as failure:
        raise Failed(1, f" [ERROR] Failed to set migration status: {failure}", sys.stdout) from failure
    print("\n [OK] Successfully installed Kimai\n")
    return 0


def migrate(cursor, version: str) -> None:
    """As Doctrine with MySQL: each statement stays done when a later one fails."""
    import pymysql

    try:
        for statement in settings().get("sql", ()):
            cursor.execute(statement)
        cursor.execute(
            "INSERT INTO migration_versions (version, executed_at, execution_time) VALUES (%s, NOW(), 1)",
            (f"DoctrineMigrations\\{version}",),
        )
    except pymysql.err.MySQLError as error:
        raise Failed(1, f"An exception occurred while executing a query: {error.args[1]}") from error


def newest_in_database(cursor) -> str | None:
    import pymysql

    try:
        cursor.execute("SELECT MAX(version) FROM migration_versions")
    except pymysql.err.ProgrammingError:
        return None
    (newest,) = cursor.fetchone()
    return newest.rpartition("\\")[2] if newest else None


def connect(exit_code: int):
    """Connect to the database in force. Doctrine's errors come on stderr, the password never in them."""
    import pymysql

    url = urlsplit(database_url())
    query = parse_qs(url.query)
    try:
        return pymysql.connect(
            host=url.hostname or "localhost",
            port=url.port or 3306,
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            database=unquote(url.path.lstrip("/")),
            unix_socket=query.get("unix_socket", [None])[0],
            charset="utf8mb4",
            connect_timeout=10,
            read_timeout=60,
        )
    except pymysql.err.MySQLError as error:
        code = error.args[0] if error.args else 0
        text = f"In ExceptionConverter.php line 101:\n\n  An exception occurred in the driver: SQLSTATE[HY000] [{code}]"
        raise Failed(exit_code, text) from error


def database_url() -> str:
    """The real environment before the files, a later file before an earlier one."""
    if "DATABASE_URL" in os.environ:
        return os.environ["DATABASE_URL"]
    found = ""
    for name in (".env", ".env.local"):
        path = ROOT / name
        for line in path.read_text().splitlines() if path.exists() else []:
            if match := re.fullmatch(r"(?:export\s+)?DATABASE_URL=(['\"]?)(.*)\1\s*", line):
                found = match[2]
    if not found:
        raise Failed(255, 'Environment variable not found: "DATABASE_URL".')
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
