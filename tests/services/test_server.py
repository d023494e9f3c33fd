"""Who answers: the servers that the other tests here run on are what they are taken for."""

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from sidecar.database.objects import at_work, kill
from sidecar.errors import KimaiBackupError
from tests.services.conftest import asked_for
from tests.support.cli import poll
from tests.support.engine import session
from tests.support.mysql_server import MAJORS
from tests.support.servers import Server


def test_the_server_is_of_the_flavour_that_was_asked_for(server: Server, flavour: str) -> None:
    version, comment = server.run("SELECT VERSION(), @@version_comment")[0]
    with closing(session(server.url("mysql"))) as connected:
        assert connected.flavour == server.flavour == flavour
        assert connected.server_version == version
    assert ("mariadb" in f"{version} {comment}".lower()) == (flavour == "mariadb")


@pytest.mark.flavours("mysql")
def test_mysql_is_of_a_known_major_version(server: Server) -> None:
    version = server.run("SELECT VERSION()")[0][0]
    print(version)
    assert int(version.split(".")[0]) in MAJORS


def test_every_flavour_that_was_asked_for_is_one(flavour: str) -> None:
    """A misspelt KIMAI_TEST_SERVERS must not run nothing and pass."""
    assert flavour in asked_for()
    assert set(asked_for()) <= {"mariadb", "mysql"}


def test_a_statement_with_an_emoji_that_is_still_carried_out_is_seen_and_ended(
    server: Server, new_database: Callable[..., str]
) -> None:
    """MySQL's information_schema can't be asked for connections meanwhile (error 3854)."""
    database = new_database()
    with closing(session(server.url(database))) as asking, closing(session(server.url(database))) as busy:
        number = int(busy.value("SELECT CONNECTION_ID()") or 0)
        ended: list[Exception] = []

        def work() -> None:
            try:
                busy.query("SELECT SLEEP(60), '🦊'")
            except KimaiBackupError as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        poll(lambda: number in at_work(asking), "the statement is carried out")
        kill(asking, [number])
        thread.join(30)
        assert at_work(asking) == []
    assert not thread.is_alive()
