"""A user on a real server who may make scratch databases of one prefix, and what lies there of it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import Server


@contextmanager
def scratch_user(server: Server) -> Iterator[tuple[str, str]]:
    """The prefix, and the URL; user and databases are gone afterwards."""
    prefix = f"s{secrets.token_hex(4)}"
    server.run(
        f"CREATE USER '{prefix}'@'%' IDENTIFIED BY 'scratch-secret'",
        f"GRANT ALL PRIVILEGES ON `{prefix}\\_drill\\_%`.* TO '{prefix}'@'%'",
    )
    try:
        yield prefix, server.url(prefix, prefix, "scratch-secret")
    finally:
        for name in scratches(server, prefix):
            server.run(f"DROP DATABASE {name}")
        server.run(f"DROP USER '{prefix}'@'%'")


def scratches(server: Server, prefix: str) -> list[str]:
    """The databases whose names start so."""
    return sorted(name for (name,) in server.run("SHOW DATABASES") if name.startswith(prefix))
