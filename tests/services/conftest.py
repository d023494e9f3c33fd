"""Users with few rights, gone after the test."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.support.servers import Server


@pytest.fixture
def new_user(server: Server) -> Iterator[Callable[..., str]]:
    """Makes users; `new_user(database, "SELECT", …)` gives a URL for one that has these rights on the database."""
    made: list[str] = []

    def make(database: str, *rights: str) -> str:
        name = f"u{uuid.uuid4().hex[:10]}"
        server.run(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'hunter2 ü'")
        made.append(name)
        if rights:
            server.run(f"GRANT {', '.join(rights)} ON `{database}`.* TO '{name}'@'%'")
        return server.url(database, name, "hunter2 ü")

    yield make
    for name in made:
        server.run(f"DROP USER IF EXISTS '{name}'@'%'")
