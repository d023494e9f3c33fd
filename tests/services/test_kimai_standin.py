"""The stand-in behaves as the facts say of Kimai, and the console's reader takes it for that."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.errors import Unreachable
from sidecar.kimai.console import list_users, migrations, read_version, reload
from sidecar.kimai.local import LocalConsole
from sidecar.kimai.staging import empty_cache
from tests.standin.install import NEWEST_MIGRATION, install_console, set_fault
from tests.support.kimai import make_instance
from tests.support.servers import Server


@pytest.fixture
def root(tmp_path: Path, server: Server, new_database: Callable[[], str]) -> Iterator[Path]:
    folder = make_instance(tmp_path)
    install_console(folder)
    name = new_database()
    server.run(f"CREATE TABLE {name}.migration_versions (version VARCHAR(191) PRIMARY KEY)")
    server.run(f"CREATE TABLE {name}.kimai2_users (id INT PRIMARY KEY, username VARCHAR(60))")
    server.run(f"INSERT INTO {name}.kimai2_users VALUES (1, 'admin')")
    migrate(server, name, NEWEST_MIGRATION)
    (folder / ".env").write_text(f"DATABASE_URL={server.url(name)}\n")
    (folder / "database").write_text(name)
    return folder


def migrate(server: Server, name: str, version: str) -> None:
    server.run(f"DELETE FROM {name}.migration_versions")
    server.run(f"INSERT INTO {name}.migration_versions VALUES ('DoctrineMigrations\\\\{version}')")


def test_a_database_that_fits(root: Path) -> None:
    console = LocalConsole(root)
    assert read_version(console) == ("2.66.0", "console")
    assert migrations(console) == "up-to-date"
    list_users(console)
    empty_cache(root)
    reload(console)
    assert os.listdir(root / "var/cache") == ["prod"]  # noqa: PTH208


def test_a_database_that_is_older_or_newer_than_the_code(root: Path, server: Server) -> None:
    name = (root / "database").read_text()
    console = LocalConsole(root)
    migrate(server, name, "Version20250101000000")
    assert migrations(console) == "older database"
    with pytest.raises(Unreachable, match="Unknown column"):
        list_users(console)
    migrate(server, name, "Version20991231000000")
    assert migrations(console) == "newer database"
    assert console.run("doctrine:migrations:up-to-date", deadline=30).exit_code == 0


def test_no_database_at_all_and_a_version_all_the_same(root: Path) -> None:
    url = "mysql://kimai:hunter2@127.0.0.1:1/kimai"
    console = LocalConsole(root, environment={"DATABASE_URL": url})
    assert read_version(console)[0] == "2.66.0"
    reload(console)
    for ask in (list_users, migrations):
        with pytest.raises(Unreachable) as caught:
            ask(console)
        assert "2003" in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_a_broken_configuration_and_a_cold_cache(root: Path) -> None:
    (root / "config/packages/local.yaml").write_text('kimai:\n\tdata_dir: "x\n')
    console = LocalConsole(root)
    assert read_version(console)[0] == "2.66.0"
    empty_cache(root)
    for ask in (read_version, reload, list_users):
        with pytest.raises(Unreachable, match="Unable to parse at line 2"):
            ask(console)


@pytest.mark.parametrize("fault", ["hang", "nonsense", "fail", "flood", "hang kimai:version"])
def test_its_faults_are_told_from_answers(root: Path, fault: str) -> None:
    set_fault(root, fault)
    with pytest.raises(Unreachable):
        read_version(LocalConsole(root), deadline=3)
    set_fault(root, "fail kimai:reload")
    assert read_version(LocalConsole(root))[0] == "2.66.0"
    set_fault(root, None)
    reload(LocalConsole(root))
