"""A Kimai-like instance for demo, bench and tests: its database, filled fast by the server, and its files."""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.standin.install import NEWEST_MIGRATION, VERSION, install_console
from tests.support.servers import Server

SCHEMA = Path(__file__).with_suffix(".sql")
PASSWORD = "s3cr:t/p@ss %word"
RIGHTS = "ALL PRIVILEGES"
"""What the database images grant Kimai's user, on its own database alone."""

USER_DATA = (".env", "config/packages/local.yaml", "var/data", "var/export", "var/invoices", "var/plugins")

_WEB_USER = 33
_DIGITS = " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10))
_AT_ONCE = 100_000

# What tools stumble over: quotes, backslashes, line ends, four-byte characters, nothing at all.
_DESCRIPTIONS = (
    "'Support für Müller & Söhne, Rückfragen zur Rechnung'",
    "'Weekly call: scope, budget, open questions, next steps, and who tells the customer that Friday will not do'",
    r"'O\'Reilly said \"no\" to C:\\temp\\new and then 100 % yes'",
    r"'Entwicklung\nTests\r\nDokumentation\tund Übergabe an alle'",
    "'🚀 Release 2.0 ausgeliefert, ☕ danach Nachbereitung 👩‍💻'",
    "'日本語の説明文、Ελληνικά, кириллица und dann noch ein längerer Rest auf Deutsch: Abnahme, Übergabe, Schulung'",
    "NULL",
    "''",
)


@dataclass(frozen=True)
class Instance:
    """Where the instance lies and how its own database user signs in."""

    server: Server
    database: str
    user: str
    password: str
    root: Path

    @property
    def url(self) -> str:
        return self.server.url(self.database, self.user, self.password) + "?charset=utf8mb4"

    def run(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """As the server's root: the independent look."""
        with contextlib.closing(self.server.admin(self.database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return list(cursor.fetchall())


@dataclass(frozen=True)
class Found:
    """One file, folder or link as the file system tells of it; times in nanoseconds."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: str


def make_instance(server: Server, root: Path, *, timesheets: int, database: str = "kimai") -> Instance:
    """The whole of it: a database user with Kimai's usual rights, its database, filled, and the files."""
    instance = Instance(server, database, "kimai", PASSWORD, root)
    create_database(instance)
    create_user(instance)
    fill(instance, timesheets)
    install_code(root)
    write_files(instance)
    return instance


# ── The database ─────────────────────────────────────────────────────────────────────────────────────────────


def create_database(instance: Instance) -> None:
    instance.server.run(f"CREATE DATABASE {instance.database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")


def create_user(instance: Instance, rights: str = RIGHTS) -> None:
    with contextlib.closing(instance.server.admin()) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER '{instance.user}'@'%%' IDENTIFIED BY %s", (instance.password,))
        cursor.execute(f"GRANT {rights} ON {instance.database}.* TO '{instance.user}'@'%'")


def fill(instance: Instance, timesheets: int) -> None:
    """Make the tables and let the server make their rows, the same ones each time."""
    with contextlib.closing(instance.server.admin(instance.database)) as connection, connection.cursor() as cursor:
        for statement in re.sub(r"^--.*\n", "", SCHEMA.read_text(), flags=re.MULTILINE).split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute("SET foreign_key_checks = 0, unique_checks = 0")
        for statement in _small_tables(timesheets):
            cursor.execute(statement)
        cursor.execute("INSERT INTO kimai2_sessions VALUES (%s, %s, 1764000000, 604800)", ("s" * 26, bytes(range(256))))
        for first in range(0, timesheets, _AT_ONCE):
            cursor.execute(_timesheets(first, min(_AT_ONCE, timesheets - first)))
            connection.commit()
        cursor.execute(
            "INSERT INTO kimai2_timesheet_tags SELECT id, 1 + id % 5 FROM kimai2_timesheet WHERE id % 10 = 0"
        )


def _numbers(first: int, count: int) -> str:
    """A derived table of `count` numbers from `first` + 1, on every server alike."""
    # MySQL makes all that the digits can say, and throws away the rest: no more digits than it takes.
    powers = range(len(str(count - 1)))
    digits = " CROSS JOIN ".join(f"({_DIGITS}) d{power}" for power in powers)
    number = " + ".join(f"d{power}.n * {10**power}" for power in powers)
    return f"(SELECT {first} + 1 + {number} AS n FROM {digits} HAVING n <= {first + count}) numbers"


def _timesheets(first: int, count: int) -> str:
    start = "TIMESTAMPADD(MINUTE, n * 7 MOD 1440, TIMESTAMPADD(DAY, n DIV 400, '2019-01-01 06:00:00'))"
    duration = "(900 + n * 37 % 28 * 900)"
    return (
        "INSERT INTO kimai2_timesheet SELECT n, 1 + n % 20, 1 + n % 40, 1 + n % 30, "
        f"{start}, TIMESTAMPADD(SECOND, {duration}, {start}), {duration}, "
        f"ELT(1 + n % {len(_DESCRIPTIONS)}, {', '.join(_DESCRIPTIONS)}), "
        f"ROUND({duration} / 3600 * (60 + n % 7 * 12.5), 2), IF(n % 50 = 0, 99.9, NULL), 60 + n % 7 * 12.5, "
        "n % 3 = 0, ELT(1 + n % 3, 'Europe/Berlin', 'Europe/Vienna', 'America/New_York'), "
        f"ROUND(n % 1000 / 3, 4), n % 9 <> 0, 'work', {start}, DATE({start}) "
        f"FROM {_numbers(first, count)} ORDER BY n"
    )


def _small_tables(timesheets: int) -> Iterator[str]:
    """The rows of every table but the timesheets', their tags and the session."""
    yield (
        "INSERT INTO kimai2_users SELECT n, CONCAT('user', n), CONCAT('user', n, '@example.com'), "
        "CONCAT('$2y$13$', SHA2(CONCAT('user', n), 256)), ELT(1 + n % 3, 'Jürgen Großmann', 'Zoë 🦊', NULL), 1, "
        "'2019-01-01 08:00:00', 'a:1:{i:0;s:9:\"ROLE_USER\";}', '2026-11-01 07:30:00', NULL, "
        f"IF(n = 1, NULL, 1 + n DIV 5) FROM {_numbers(0, 20)}"
    )
    yield (
        "INSERT INTO kimai2_user_preferences (user_id, name, value) SELECT n, preferences.name, preferences.value "
        f"FROM {_numbers(0, 20)} CROSS JOIN (SELECT 'timezone' AS name, 'Europe/Berlin' AS value UNION ALL "
        "SELECT 'language', 'de' UNION ALL SELECT 'skin', 'dark' UNION ALL SELECT 'hourly_rate', NULL) preferences"
    )
    yield (
        "INSERT INTO kimai2_customers SELECT n, CONCAT('Müller & Söhne ', n, ' GmbH'), CONCAT('K-', n), "
        "'a\\\\b \\'c\\' \\\"d\\\"', 1, 'Straße 1\\n12345 Köln', 'DE', 'EUR', 'Europe/Berlin', '#c0ffee', 3600 * n, "
        f"1000.1 * n, 1, IF(n <= 2, n, NULL), '2020-02-29 12:00:00' FROM {_numbers(0, 10)}"
    )
    yield (
        "INSERT INTO kimai2_invoice_templates SELECT n, CONCAT('Vorlage ', n), 'Rechnung', 14, 19, 'default', "
        f"'Zahlbar in 14 Tagen\\nDanke! 💶', 'de', n FROM {_numbers(0, 2)}"
    )
    yield (
        "INSERT INTO kimai2_projects SELECT n, 1 + n % 10, CONCAT('Projekt ', n, ': «Übersicht»'), NULL, "
        f"'', 1, 0.1 * n, '2020-01-01 00:00:00', NULL, 'Europe/Berlin' FROM {_numbers(0, 30)}"
    )
    yield (
        "INSERT INTO kimai2_activities SELECT n, IF(n % 4 = 0, NULL, 1 + n % 30), CONCAT('Tätigkeit ', n), NULL, 1 "
        f"FROM {_numbers(0, 40)}"
    )
    yield f"INSERT INTO kimai2_tags SELECT n, CONCAT('tag-', n, ' ✓'), '#00ff00' FROM {_numbers(0, 5)}"
    yield (
        "INSERT INTO kimai2_invoices SELECT n, 1 + n % 10, 1, CONCAT('2026-', n), '2026-06-01 10:00:00', "
        "'Europe/Berlin', 119.0 * n, 19.0 * n, 'EUR', 'paid', CONCAT('2026-', n, '.pdf'), '2026-06-14' "
        f"FROM {_numbers(0, 25)}"
    )
    yield (
        "INSERT INTO kimai2_configuration (name, value) VALUES ('theme.branding.company', 'Beispiel & Söhne'), "
        f"('timesheet.rules', ''), ('demo.timesheets', '{timesheets}'), ('defaults.customer.currency', NULL)"
    )
    yield (
        "INSERT INTO kimai2_export_templates VALUES (1, 'Übersicht', 'csv', '[\"date\",\"user\",\"duration\"]', "
        '\'{"name":"für alle","separator":";"}\')'
    )
    yield "INSERT INTO bundle_migration_demo VALUES ('DemoBundle\\\\Migrations\\\\Version20200730115147', NOW(), 116)"
    newest = f"DoctrineMigrations\\\\{NEWEST_MIGRATION}"
    yield f"INSERT INTO migration_versions VALUES ('{newest}', '2026-08-03 02:00:00', NULL)"


def tables(instance: Instance) -> dict[str, tuple[int, int]]:
    """Each table's rows by COUNT(*) and the server's own CHECKSUM TABLE: it knows nothing of kimai-backup."""
    with contextlib.closing(instance.server.admin(instance.database)) as connection, connection.cursor() as cursor:

        def last(statement: str) -> int:
            cursor.execute(statement)
            return int(cursor.fetchone()[-1])

        cursor.execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'VIEW' ORDER BY TABLE_NAME"
        )
        names = [str(name) for (name,) in cursor.fetchall()]
        return {
            name: (last(f"SELECT COUNT(*) FROM `{name}`"), last(f"CHECKSUM TABLE `{name}` EXTENDED")) for name in names
        }


# ── The files ────────────────────────────────────────────────────────────────────────────────────────────────


def install_code(root: Path) -> None:
    """What a fresh installation brings along: the stand-in for Kimai's console, and no user data."""
    for folder in ("config/packages", "public", "var/cache/prod", "var/log"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "version.txt").write_text(VERSION + "\n")
    (root / "config/packages/kimai.yaml").write_text("kimai: {}\n")
    (root / "public/index.php").write_text("<?php // not Kimai\n")
    (root / "var/log/prod.log").write_text("[2026-11-22] not user data\n")
    install_console(root)


def write_files(instance: Instance) -> None:
    """An instance's own files: invoices, templates, a plugin, settings, a secret only its owner may read, a link."""
    root = instance.root
    for name, content in _contents(instance):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "var/data/empty").mkdir()
    (root / "var/data/newest.pdf").symlink_to("invoices/2026-25.pdf")
    (root / "var/data/.appsecret").chmod(0o600)
    (root / ".env").chmod(0o640)
    (root / "var/plugins/DemoBundle/Resources").chmod(0o750)
    invoices = sorted((root / "var/data/invoices").iterdir())
    for number, path in enumerate(invoices):
        if os.geteuid() == 0:
            os.chown(path, _WEB_USER, _WEB_USER)
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + number * 86_400_123_456_789))
    os.utime(root / "var/data/empty", ns=(0, 1_600_000_000_123_456_789))


def _contents(instance: Instance) -> Iterator[tuple[str, bytes]]:
    yield ".env", f'DATABASE_URL="{instance.url}"\nAPP_ENV=prod\nAPP_SECRET=\nMAILER_URL=null://null\n'.encode()
    yield "config/packages/local.yaml", b'kimai:\n    data_dir: "%kernel.project_dir%/var/data"\n'
    yield "var/data/.appsecret", hashlib.sha256(b"secret of the demo").hexdigest().encode()
    for number in range(1, 26):
        noise = b"".join(hashlib.sha256(b"%d %d" % (number, block)).digest() for block in range(1000))
        yield f"var/data/invoices/2026-{number}.pdf", b"%PDF-1.4\n" + noise + b"\n%%EOF\n"
    yield "var/data/invoices/2026-100 Müller & Söhne «Entwurf» 🧾.pdf", b"%PDF-1.4\n%%EOF\n"
    yield "var/data/fonts/empty.ttf", b""
    yield "var/export/uebersicht.html.twig", "{{ 'Stundenübersicht' }}\n".encode() * 200
    yield "var/invoices/rechnung.html.twig", b"<h1>{{ invoice.number }}</h1>\n" * 400
    yield "var/plugins/DemoBundle/DemoBundle.php", b"<?php\nnamespace KimaiPlugin\\DemoBundle;\n"
    yield (
        "var/plugins/DemoBundle/composer.json",
        b'{"name": "example/demo-bundle", "extra": {"kimai": {"require": 26600}}}\n',
    )
    yield "var/plugins/DemoBundle/Resources/config/services.yaml", b"services: {}\n"


def files(root: Path) -> dict[str, Found]:
    """Everything of the user data below the root, looked at without kimai-backup."""
    found = {}
    for name in USER_DATA:
        top = root / name
        for path in [top, *sorted(top.rglob("*"))]:
            found[str(path.relative_to(root))] = _look(path)
    return found


def _look(path: Path) -> Found:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        kind, content = "link", f"-> {path.readlink()}"
    elif stat.S_ISDIR(status.st_mode):
        kind, content = "folder", ""
    else:
        kind, content = "file", hashlib.sha256(path.read_bytes()).hexdigest()
    return Found(kind, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid), status.st_mtime_ns, content)
