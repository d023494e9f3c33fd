"""What the stand-in for Kimai's image does beyond its console: install, create a user, serve the web. It is not Kimai.

As with the console beside it (tests/standin), exit codes, streams and wording are those measured on a running Kimai
2.66.0. Less than true: an older database is migrated by adding the tables that it lacks and the migrations' names, with
no column changed.
"""

import http.client
import importlib.util
import re
import secrets
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BIN = Path(__file__).resolve().parent
PORT = 8001
PREFERENCES = {
    "timezone": "UTC",
    "language": "en",
    "skin": "auto",
    "work_contract_type": "none",
    **{f"work_{day}": "0" for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")},
    "public_holiday_group": None,
    "holidays": "0",
    "work_start_day": None,
    "work_last_day": None,
}


def console_module() -> Any:
    specification = importlib.util.spec_from_file_location("standin_console", BIN / "standin-console.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


console = console_module()


def known_migrations() -> list[str]:
    """All that the stood-in version's code knows: its newest one may lie before or after the schema file's."""
    newest = console.settings()["migration"]
    names = re.findall(r"'DoctrineMigrations\\\\(Version\d+)'", (BIN / "schema.sql").read_text())
    return sorted({name for name in names if name <= newest} | {newest})


def install(arguments: list[str]) -> int:
    """Create and migrate whatever database there is. Errors come on stdout; a newer database is only warned of."""
    console.misbehave(arguments[0])
    try:
        with console.connect(1) as connection, connection.cursor() as cursor:
            migrate(cursor)
            connection.commit()
    except console.Failed as failure:
        print(f"\n{failure}\n")
        return int(failure.exit_code)
    return 0


def migrate(cursor: Any) -> None:
    known = known_migrations()
    executed = migrations_in_database(cursor)
    if executed and max(executed) > known[-1]:
        print("\n [WARNING] You have 1 previously executed migration that is not registered.\n")
    missing = [name for name in known if name not in executed]
    if not missing:
        print("\n [OK] Already at the latest version\n")
        return
    create_tables(cursor)
    for name in missing:
        cursor.execute(
            "INSERT INTO migration_versions (version, executed_at, execution_time) VALUES (%s, NOW(), 1)",
            (f"DoctrineMigrations\\{name}",),
        )
    print(f"\n [OK] Successfully migrated: {len(missing)} migrations executed\n")


def migrations_in_database(cursor: Any) -> set[str]:
    cursor.execute("SHOW TABLES LIKE 'migration\\_versions'")
    if not cursor.fetchall():
        return set()
    cursor.execute("SELECT version FROM migration_versions")
    return {version.rpartition("\\")[2] for (version,) in cursor.fetchall()}


def create_tables(cursor: Any) -> None:
    """Every table that is not there, with what Kimai's migrations put into a new one."""
    cursor.execute("SHOW TABLES")
    there = {name for (name,) in cursor.fetchall()}
    schema = re.sub(r"^--.*\n", "", (BIN / "schema.sql").read_text(), flags=re.MULTILINE)
    cursor.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
    for statement in schema.split(";\n"):
        table = re.match(r"\s*CREATE TABLE `(\w+)`|\s*INSERT INTO (\w+)", statement)
        name = (table[1] or table[2]) if table else None
        # Which migrations there are depends on the version, so their names are not the file's.
        if statement.strip() and name not in there and not (table and table[2] == "migration_versions"):
            cursor.execute(statement)


def create_user(arguments: list[str]) -> int:
    """`kimai:user:create NAME EMAIL ROLE PASSWORD`. Nobody signs in, so the password is thrown away."""
    name, email, role = [each for each in arguments if not each.startswith("-")][1:4]
    console.misbehave("kimai:user:create")
    try:
        with console.connect(1) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO kimai2_users (username, email, password, enabled, registration_date, roles, auth) "
                "VALUES (%s, %s, %s, 1, NOW(), %s, 'kimai')",
                (name, email, f"$2y$13${secrets.token_hex(26)}.", f'a:1:{{i:0;s:{len(role)}:"{role}";}}'),
            )
            user = cursor.lastrowid
            cursor.executemany(
                "INSERT INTO kimai2_user_preferences (user_id, name, value) VALUES (%s, %s, %s)",
                [(user, key, value) for key, value in PREFERENCES.items()],
            )
            connection.commit()
    except console.Failed as failure:
        print(f"\n{failure}\n")
        return int(failure.exit_code)
    print(f"\n [OK] Success! Created user: {name}\n")
    return 0


def database_answers(arguments: list[str]) -> int:
    try:
        console.connect(1).close()
    except console.Failed:
        return 1
    return 0


def users_can_be_counted() -> bool:
    import pymysql

    try:
        with console.connect(1) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM kimai2_users")
            cursor.fetchall()
    except (console.Failed, pymysql.err.MySQLError):
        return False
    return True


class Web(BaseHTTPRequestHandler):
    """The pages whose status tells something."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        location = None
        if path in ("/", "/en", "/en/"):
            status, location = 302, "/en/login" if path != "/" else "/en/"
        elif path == "/en/login":
            status = 200 if users_can_be_counted() else 500
        elif path == "/api/ping":
            status = 401 if users_can_be_counted() else 500
        else:
            status = 404
        body = f"{status}: a stand-in for Kimai, not Kimai\n".encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(arguments: list[str]) -> int:
    server = ThreadingHTTPServer(("0.0.0.0", PORT), Web)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Apache in the official image is told to end by this one.
    signal.signal(signal.SIGWINCH, lambda *_: sys.exit(0))
    print(f"a stand-in for Kimai {console.settings()['version']} listens on port {PORT}", flush=True)
    server.serve_forever()
    return 0


def healthy(arguments: list[str]) -> int:
    """As the official image: the root page alone, so it stays green without a database."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=4)
    try:
        connection.request("GET", "/")
        return 0 if connection.getresponse().status in (200, 302) else 1
    except OSError:
        return 1


COMMANDS = {
    "kimai:install": install,
    "kimai:update": install,
    "kimai:user:create": create_user,
    "database-answers": database_answers,
    "serve": serve,
    "healthy": healthy,
}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]](sys.argv[1:]))
