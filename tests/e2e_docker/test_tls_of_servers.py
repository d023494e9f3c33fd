"""DATABASE_TLS from the product's own image to servers by their services' names: what is encrypted, what is refused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e_docker.test_engine import DATABASES, HERE
from tests.standin.install import install_console
from tests.support import product
from tests.support.certificates import Authority
from tests.support.cli import Ran, check_manners
from tests.support.compose import Database, Project, project
from tests.support.kimai import make_instance

pytestmark = pytest.mark.timeout(400)

PASSWORD = "s3cr:t/p@ss %wörd"
USERS = {"anyhow": "", "encrypted": "REQUIRE SSL"}
WITHOUT_TLS = {"mariadb": "--skip-ssl", "mysql": "--tls-version="}
OWN_CIPHER = """
import os
from sidecar.app import App
session = App.load(os.environ).servers.connect()
print(session.texts("SHOW STATUS LIKE 'Ssl_cipher'")[0][1])
session.close()
"""


@dataclass(frozen=True)
class Servers:
    """The product's runs beside two servers: `sqldb` has a certificate for that name, `plain` has no TLS."""

    project: Project
    flavour: str

    def database(self, service: str = "sqldb") -> Database:
        return Database(self.project, self.flavour, service=service)

    def run(self, user: str, host: str, tls: str, ca: str | None, *command: str) -> Ran:
        """A command in the product's container, over the compose network."""
        url = f"mysql://{user}:{quote(PASSWORD, safe='')}@{host}:3306/kimai"
        given = {"DATABASE_URL": url, "DATABASE_TLS": tls}
        if ca is not None:
            given["DATABASE_CA_FILE"] = f"/tls/{ca}"
        options = [part for name, value in given.items() for part in ("--env", f"{name}={value}")]
        return self.project.exec("product", *command, options=options)

    def backup(self, user: str, host: str, tls: str, ca: str | None = None) -> Ran:
        ran = self.run(user, host, tls, ca, "kimai-backup", "backup")
        check_manners(ran, [PASSWORD, quote(PASSWORD, safe="")])
        return ran

    def connections(self, service: str) -> set[str]:
        """How those users connected since this was last asked, by the server's own log."""
        database = self.database(service)
        found = database.query(
            "SELECT SUBSTRING_INDEX(CONVERT(argument USING utf8mb4), ' using ', -1) FROM mysql.general_log "
            "WHERE command_type = 'Connect' AND (argument LIKE 'anyhow@%' OR argument LIKE 'encrypted@%')"
        )
        database.query("TRUNCATE TABLE mysql.general_log")
        return {row[0] for row in found}


@pytest.fixture(scope="module")
def servers(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    image, majors = DATABASES[flavour]
    folder = tmp_path_factory.mktemp("database-tls")
    write_certificates(folder)
    variables = {
        "DATABASE_IMAGE": image(),
        "PRODUCT_IMAGE": product.image(),
        "KIMAI_IMAGE": "unused",
        "HAPROXY_IMAGE": "unused",
        "ROOT_PASSWORD": "root",
        "TLS_FOLDER": str(folder / "tls"),
        "SITE_FOLDER": str(make_site(folder / "site")),
        "WITHOUT_TLS": WITHOUT_TLS[flavour],
        # MariaDB's own client takes no server without.
        "PING_WITHOUT_TLS": "--skip-ssl" if flavour == "mariadb" else "",
    }
    files = [HERE / name for name in ("engine.yml", "tls.yml", "tls-product.yml")]
    with project(files, folder, variables=variables) as made:
        made.up("sqldb", "plain", "product")
        found = Servers(made, flavour)
        for service in ("sqldb", "plain"):
            found.database(service).check_who_answers(*majors)
            prepare(found.database(service))
        yield found


def write_certificates(folder: Path) -> None:
    Authority().write(folder / "tls", ["sqldb"])
    Authority("another").write(folder / "another", ["sqldb"])
    (folder / "tls" / "another.pem").write_bytes((folder / "another" / "ca.pem").read_bytes())
    (folder / "tls" / "another.pem").chmod(0o644)


def make_site(folder: Path) -> Path:
    """Kimai's files, and where backups go: at the same place in the product's container."""
    install_console(make_instance(folder / "kimai"), python="/opt/kimai-backup/bin/python")
    for name in ("backups", "state"):
        (folder / name).mkdir()
    return folder


def prepare(database: Database) -> None:
    """Users, a little of a Kimai, and a log of who connects."""
    statements = [
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, 'ü'), (2, NULL)",
        "CREATE TABLE migration_versions (version VARCHAR(191) PRIMARY KEY)",
        "SET GLOBAL log_output = 'TABLE'",
        "SET GLOBAL general_log = ON",
    ]
    for user, condition in USERS.items():
        statements.append(f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}' {condition}")
        statements.append(f"GRANT ALL ON kimai.* TO {user}")
    database.query("; ".join(statements))


@pytest.mark.parametrize(
    ("user", "service", "tls", "ca", "encrypted"),
    [
        ("anyhow", "sqldb", "off", None, False),
        ("anyhow", "sqldb", "preferred", None, True),
        ("encrypted", "sqldb", "preferred", None, True),
        ("anyhow", "sqldb", "required", None, True),
        ("encrypted", "sqldb", "verify", "ca.pem", True),
        ("anyhow", "plain", "off", None, False),
        ("anyhow", "plain", "preferred", None, False),
    ],
)
def test_a_backup_is_made_and_each_session_is_encrypted_or_not(
    servers: Servers, user: str, service: str, tls: str, ca: str | None, encrypted: bool
) -> None:
    forget_passwords(servers.database(service))
    servers.connections(service)
    ran = servers.backup(user, service, tls, ca)
    assert ran.code == 0, ran.said
    assert servers.connections(service) == {"SSL/TLS" if encrypted else "TCP/IP"}
    own = servers.run(user, service, tls, ca, "python3", "-c", OWN_CIPHER)
    assert own.code == 0, own.said
    assert re.fullmatch(r"TLS_\w+" if encrypted else "", own.out.strip()), own.said


def forget_passwords(database: Database) -> None:
    """MySQL knows by heart who signed in of late; without that a password goes through TLS or the server's own key."""
    database.query("FLUSH PRIVILEGES")


@pytest.mark.parametrize(
    ("user", "host", "tls", "ca", "what"),
    [
        ("anyhow", "sqldb", "verify", "another.pem", "its certificate is of no authority in DATABASE_CA_FILE"),
        ("anyhow", "sqldb", "verify", None, "its certificate is of no authority that this system trusts"),
        ("anyhow", "otherwise", "verify", "ca.pem", "its certificate is not for otherwise"),
        ("anyhow", "plain", "required", None, "it has no TLS, and DATABASE_TLS=required"),
        ("anyhow", "plain", "verify", "ca.pem", "it has no TLS, and DATABASE_TLS=verify"),
        ("encrypted", "sqldb", "off", None, "one who must use TLS can't sign in with DATABASE_TLS=off"),
        ("encrypted", "plain", "preferred", None, "Access denied"),
    ],
)
def test_what_may_not_be_is_refused_in_one_line(
    servers: Servers, user: str, host: str, tls: str, ca: str | None, what: str
) -> None:
    ran = servers.backup(user, host, tls, ca)
    assert ran.code == 5, ran.said
    [line] = ran.errors
    assert what in line, line
    assert "Check that the server runs" not in line


def test_without_tls_a_server_that_insists_on_it_says_so(servers: Servers) -> None:
    database = servers.database()
    database.query("SET GLOBAL require_secure_transport = ON")
    try:
        refused = servers.backup("anyhow", "sqldb", "off")
        assert servers.backup("anyhow", "sqldb", "preferred").code == 0
    finally:
        database.client("mysql", *encrypted_client(servers.flavour), "-e", "SET GLOBAL require_secure_transport = OFF")
    assert refused.code == 5, refused.said
    [line] = refused.errors
    assert "insecure transport" in line
    assert "DATABASE_TLS" in line


def encrypted_client(flavour: str) -> list[str]:
    return ["--ssl", "--disable-ssl-verify-server-cert"] if flavour == "mariadb" else ["--ssl-mode=REQUIRED"]


def test_a_ca_file_that_is_not_there_or_is_none_is_a_matter_of_settings(servers: Servers) -> None:
    for name in ("missing.pem", "server.key"):
        ran = servers.backup("anyhow", "sqldb", "verify", name)
        assert ran.code == 4, ran.said
        assert any("DATABASE_CA_FILE" in line and name in line for line in ran.errors), ran.errors
