"""Which drills are made on Kimai's own server, as far as two URLs tell."""

import logging

import pytest

from sidecar.servers import Servers
from sidecar.settings import load

SAID = "DRILL_DATABASE_URL is on Kimai's own server"


def says(caplog: pytest.LogCaptureFixture, own: str, scratch: str) -> bool:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Servers(load({"DRILL_DATABASE_URL": scratch}), lambda: own).say_if_same()
    return any(SAID in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("own", "scratch"),
    [
        ("mysql://a:b@127.0.0.1:3306/kimai", "mysql://c:d@127.0.0.1:3306/drill"),
        ("mysql://a:b@localhost:3306/kimai", "mysql://c:d@127.0.0.1:3306/drill"),
        ("mysql://a:b@[::1]/kimai", "mysql://c:d@localhost/drill"),
        ("mysql://a:b@nowhere.invalid/kimai", "mysql://c:d@nowhere.invalid/drill"),
        ("mysql://a:b@x/kimai?unix_socket=/run/db", "mysql://c:d@y/drill?unix_socket=/run/db"),
    ],
)
def test_a_drill_on_the_own_server_is_told(caplog: pytest.LogCaptureFixture, own: str, scratch: str) -> None:
    assert says(caplog, own, scratch)


@pytest.mark.parametrize(
    ("own", "scratch"),
    [
        ("mysql://a:b@127.0.0.1:3306/kimai", "mysql://c:d@127.0.0.1:3307/drill"),
        ("mysql://a:b@127.0.0.1/kimai", "mysql://c:d@192.0.2.1/drill"),
        ("mysql://a:b@x/kimai?unix_socket=/run/one", "mysql://c:d@x/drill?unix_socket=/run/two"),
    ],
)
def test_a_drill_on_another_server_is_not(caplog: pytest.LogCaptureFixture, own: str, scratch: str) -> None:
    assert not says(caplog, own, scratch)
