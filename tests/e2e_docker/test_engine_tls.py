"""A database server whose certificate names its service: the native clients take it by that name alone."""

import re
from collections.abc import Iterator

import pytest

from tests.e2e_docker.test_engine import DATABASES, HERE
from tests.support.certificates import Authority
from tests.support.compose import Project, project

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("tls")
    Authority().write(folder / "own", ["sqldb"])
    Authority().write(folder / "other", ["sqldb"])
    (folder / "own" / "other.pem").write_bytes((folder / "other" / "ca.pem").read_bytes())
    image, _ = DATABASES[flavour]
    variables = {
        "DATABASE_IMAGE": image(),
        "KIMAI_IMAGE": "unused",
        "HAPROXY_IMAGE": "unused",
        "ROOT_PASSWORD": "root",
        "TLS_FOLDER": str(folder / "own"),
    }
    with project([HERE / "engine.yml", HERE / "tls.yml"], folder, variables=variables) as made:
        made.up("sqldb")
        yield made


def verified(server: Project, flavour: str, host: str, authority: str) -> tuple[int, str]:
    verify = "--ssl-mode=VERIFY_IDENTITY" if flavour == "mysql" else "--ssl-verify-server-cert"
    ran = server.exec(
        "sqldb", "mysql", "--no-defaults", "--protocol=TCP", f"--host={host}", "--user=root", "--password=root", verify,
        f"--ssl-ca=/tls/{authority}.pem", "--skip-column-names", "--execute", "SHOW STATUS LIKE 'Ssl_version'",
    )  # fmt: skip
    return ran.code, ran.said


def test_the_server_proves_its_service_s_name(server: Project, flavour: str) -> None:
    code, said = verified(server, flavour, "sqldb", "ca")
    assert (code, "TLSv1." in said) == (0, True), said


def test_another_name_or_authority_is_refused(server: Project, flavour: str) -> None:
    for host, authority in [(server.address("sqldb"), "ca"), ("sqldb", "other")]:
        code, said = verified(server, flavour, host, authority)
        assert code != 0
        assert "ERROR 2026" in said, said
        assert re.search("verif|certificate", said, re.IGNORECASE), said
