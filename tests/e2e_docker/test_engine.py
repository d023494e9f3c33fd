"""The engine, the images and the stand-in that the other Docker tests lean on: each is what it is taken for."""

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import docker
from tests.support.compose import Database, Project, project

HERE = Path(__file__).parent
ROOT_PASSWORD = 'r00t\'s "own"'
DATABASES: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
    "mariadb": (docker.mariadb, ("11.8",)),
    "mysql": (docker.mysql, ("9", "10")),
}
WEB = (
    "import sys, http.client as h; c = h.HTTPConnection('127.0.0.1', 8001, timeout=15); "
    "c.request('GET', sys.argv[1]); print(c.getresponse().status)"
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def kimai(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with the database of this flavour and a Kimai that has just installed itself."""
    image, _ = DATABASES[flavour]
    variables = {
        "DATABASE_IMAGE": image(),
        "KIMAI_IMAGE": docker.kimai(),
        "HAPROXY_IMAGE": docker.haproxy(),
        "ROOT_PASSWORD": ROOT_PASSWORD,
        "ADMINPASS": "never used",
    }
    folder = tmp_path_factory.mktemp(flavour)
    with project([HERE / "engine.yml"], folder, variables=variables, profiles=["proxy"]) as made:
        made.up()
        yield made


@pytest.fixture(scope="module")
def database(kimai: Project, flavour: str) -> Database:
    return Database(kimai, flavour, root_password=ROOT_PASSWORD)


def status(kimai: Project, path: str) -> str:
    return kimai.exec("kimai", "python3", "-c", WEB, path).out.strip()


def test_the_database_that_answers_is_the_one_that_was_asked_for(database: Database, flavour: str) -> None:
    _, majors = DATABASES[flavour]
    print(database.check_who_answers(*majors))
    other = Database(database.project, "mariadb" if flavour == "mysql" else "mysql", root_password=ROOT_PASSWORD)
    with pytest.raises(AssertionError):
        other.check_who_answers(*majors)
    with pytest.raises(AssertionError):
        database.check_who_answers("5.7")


def test_the_database_runs_as_mysql_and_has_what_the_variables_say(kimai: Project, database: Database) -> None:
    assert kimai.exec("sqldb", "stat", "-c", "%u %U", "/proc/1").out == "999 mysql\n"
    rights = "\n".join(row[0] for row in database.query("SHOW GRANTS FOR 'kimai'@'%'"))
    assert re.search(r"GRANT ALL PRIVILEGES ON [`']kimai[`']\.\*", rights), rights
    assert "ON *.*" not in rights.replace("GRANT USAGE ON *.*", ""), rights
    tls = database.query("SHOW GLOBAL STATUS LIKE 'Ssl_accepts'")
    assert tls, "the server has TLS of its own"


def test_kimai_has_installed_itself(kimai: Project, database: Database) -> None:
    counts = {name: count for name, (count, _) in database.checksums().items() if count}
    assert len(database.tables()) == 35
    assert counts == {
        "kimai2_configuration": 1,
        "kimai2_users": 1,
        "kimai2_user_preferences": 15,
        "migration_versions": 78,
    }
    assert "78 migrations executed" in kimai.logs("kimai")


def test_the_console_answers(kimai: Project) -> None:
    def console(*arguments: str) -> tuple[int, str]:
        ran = kimai.exec("kimai", "bin/console", *arguments)
        return ran.code, ran.said

    assert console("kimai:version", "--short") == (0, "2.66.0\n")
    assert console("kimai:user:list") == (0, "  admin\n")
    code, said = console("doctrine:migrations:up-to-date")
    assert (code, "Up-to-date!" in said) == (0, True)
    code, said = console("kimai:install", "-n")
    assert (code, "Already at the latest version" in said) == (0, True)


def test_the_image_is_laid_out_as_the_official_one(kimai: Project) -> None:
    found = kimai.inspect("kimai")
    mounts = {mount["Destination"]: mount["Name"] for mount in found["Mounts"]}
    assert set(mounts) == {"/opt/kimai/var", "/opt/kimai/var/data", "/opt/kimai/var/plugins"}
    assert re.fullmatch("[0-9a-f]{64}", mounts["/opt/kimai/var"]), "var itself is an anonymous volume"
    assert found["Config"]["User"] == ""
    assert kimai.exec("kimai", "id", "-u").out == "0\n"
    assert kimai.exec("kimai", "cat", "/opt/kimai/version.txt").out == "2.66.0\n"
    secret = kimai.exec("kimai", "stat", "-c", "%a %u %g", "/opt/kimai/var/data/.appsecret")
    assert secret.out == "600 33 33\n"
    assert "stand-in" in found["Config"]["Labels"]["org.opencontainers.image.title"]


def test_the_web_answers_as_the_database_does(kimai: Project) -> None:
    assert [status(kimai, path) for path in ("/", "/en/login", "/api/ping")] == ["302", "200", "401"]
    kimai.stop("sqldb")
    try:
        assert [status(kimai, path) for path in ("/", "/en/login", "/api/ping")] == ["302", "500", "500"]
        assert kimai.exec("kimai", "bin/console", "kimai:version", "--short").out == "2.66.0\n"
        assert kimai.exec("kimai", "bin/console", "kimai:user:list").code == 255
        assert "healthy" in kimai.state("kimai"), "the image's own health check doesn't ask the database"
    finally:
        kimai.start("sqldb")
        kimai.wait("sqldb", "healthy")
    assert status(kimai, "/en/login") == "200"


def test_a_restart_keeps_the_layer_and_a_new_container_loses_it(kimai: Project, database: Database) -> None:
    """What the compose file of Kimai's documentation forgets: why a backup of named volumes alone is none."""
    places = (
        "/opt/kimai/config/packages/local.yaml",
        "/opt/kimai/var/invoices/own.docx",
        "/opt/kimai/var/data/own.pdf",
    )
    monolog = "/opt/kimai/config/packages/monolog.yaml"
    for place in (*places, monolog):
        kimai.exec("kimai", "sh", "-c", f"echo mine >{place}")
    secret = kimai.exec("kimai", "cat", "/opt/kimai/.env.local").out
    assert re.fullmatch("APP_SECRET=[0-9a-f]{64}\n", secret)
    rows = database.checksums()

    kimai.stop("kimai")
    kimai.up("kimai")
    assert [kimai.exec("kimai", "cat", place).out for place in places] == ["mine\n"] * 3
    assert "mine" not in kimai.exec("kimai", "cat", monolog).out, "overwritten at every start"
    assert kimai.exec("kimai", "stat", "-c", "%u", places[1]).out == "33\n", "var is the web user's at every start"
    assert kimai.exec("kimai", "cat", "/opt/kimai/.env.local").out == secret

    kimai.compose("rm", "--stop", "--force", "--volumes", "kimai")
    kimai.up("kimai")
    assert [kimai.exec("kimai", "cat", place).code for place in places] == [1, 1, 0]
    assert kimai.exec("kimai", "cat", "/opt/kimai/.env.local").out == secret, "it lies in var/data"
    assert database.checksums() == rows, "the second start installed nothing and added no user"


@pytest.mark.parametrize(("version", "added", "up_to_date"), [("2.65.0", 0, 0), ("2.67.0", 1, 0)])
def test_another_version_migrates_whatever_it_finds(
    kimai: Project, database: Database, version: str, added: int, up_to_date: int
) -> None:
    before = database.checksums()["migration_versions"][0]
    mine = kimai.variables
    kimai.variables = {**mine, "KIMAI_IMAGE": docker.kimai(version)}
    try:
        kimai.up("kimai")
        assert kimai.exec("kimai", "bin/console", "kimai:version", "--short").out == f"{version}\n"
        assert database.checksums()["migration_versions"][0] == before + added
        assert kimai.exec("kimai", "bin/console", "doctrine:migrations:up-to-date").code == up_to_date
    finally:
        kimai.variables = mine
        database.query("DELETE FROM migration_versions WHERE version LIKE '%Version20261015120000'")
        kimai.up("kimai")


def test_admin_is_added_to_a_database_that_lacks_it(kimai: Project, database: Database) -> None:
    """A restored database without a user of that name gains a super admin: a restore has to say so."""
    database.query("UPDATE kimai2_users SET username = 'boss', email = 'boss@example.com'")
    kimai.stop("kimai")
    kimai.up("kimai")
    users = database.query("SELECT username, roles FROM kimai2_users ORDER BY username")
    assert [name for name, _ in users] == ["admin", "boss"]
    assert all("ROLE_SUPER_ADMIN" in roles for _, roles in users)


def test_haproxy_takes_its_configuration(kimai: Project) -> None:
    kimai.up("proxy", wait=False)
    kimai.wait("proxy", "running")
    asked = "import urllib.request as r; print(r.urlopen('http://proxy:8080/', timeout=15).read().decode())"
    assert kimai.exec("kimai", "python3", "-c", asked).out == "haproxy\n"
    assert kimai.inspect("proxy")["Config"]["User"] == "haproxy"


def test_an_image_is_built_again_only_when_its_files_change(tmp_path: Path) -> None:
    docker.base()
    (tmp_path / "Dockerfile").write_text(f"FROM {docker.BASE}\nCOPY file /\n")
    (tmp_path / "file").write_text("one")
    recipe = docker.Recipe("kimai-backup-test/changes:1", {"": tmp_path})
    try:
        first = docker.image_id(docker.build(recipe))
        assert docker.image_id(docker.build(recipe)) == first
        (tmp_path / "file").write_text("two")
        assert docker.image_id(docker.build(recipe)) != first
        assert first is not None
        assert docker.image_id(first) is None, "the older state is gone"
        assert docker.docker("run", "--rm", recipe.tag, "cat", "/file") == "two"
        (tmp_path / "Dockerfile").write_text(f"FROM {docker.BASE}\nRUN echo what went wrong && false\n")
        with pytest.raises(docker.DockerError, match="what went wrong"):
            docker.build(recipe)
    finally:
        docker.docker("image", "rm", "--force", recipe.tag)


def test_a_context_is_packed_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script").write_text("#!/bin/sh\n")
    (tmp_path / "folder" / "script").chmod(0o700)
    recipe = docker.Recipe("none", {"here": tmp_path, "Dockerfile": tmp_path / "folder" / "script"})
    assert recipe.pack() == recipe.pack()
    with tarfile.open(fileobj=io.BytesIO(recipe.pack())) as tar:
        assert {entry.name: entry.mode for entry in tar} == {"Dockerfile": 0o755, "here/folder/script": 0o755}


def test_the_package_mirror_is_the_machine_s_own(tmp_path: Path) -> None:
    with pytest.raises(docker.DockerError, match="names no Debian mirror"):
        docker.apt_mirror(tmp_path)
    (tmp_path / "sources.list").write_text(
        "# deb nowhere\ndeb [signed-by=/some.gpg] http://mirror.test/debian trixie main\n"
    )
    assert docker.apt_mirror(tmp_path) == "http://mirror.test/debian"
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text("Types: deb\nURIs: http://other.test/debian\n")
    assert docker.apt_mirror(tmp_path) == "http://other.test/debian"


def test_a_banner_is_not_missed() -> None:
    lines = docker.banner("no MySQL", "why").strip().splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert "no MySQL" in lines[1]


def test_where_sid_can_t_be_installed_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(recipe: docker.Recipe) -> str:
        raise docker.DockerError("building failed: E: Unable to locate package mysql-server-core")

    monkeypatch.setattr(docker, "build", fails)
    with pytest.raises(docker.Unavailable, match="Unable to locate package"):
        docker.mysql()
