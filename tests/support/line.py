"""A site whose database server is behind a line that tests can hold, or cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cli import Site, make_site
from tests.support.proxy import Proxy
from tests.support.servers import Server

TIMESHEETS = 5000
IN_THE_DUMP = 400_000
"""Bytes from the server after which a dump of that many timesheets is well under way, and not yet done."""
IN_THE_LOAD = 300_000
"""The same of a load, in bytes to the server."""


@contextmanager
def site_behind_line(folder: Path, server: Server) -> Iterator[tuple[Site, Proxy]]:
    """A site of TIMESHEETS that knows its server by the line alone, Kimai's `.env` included."""
    site = make_site(folder, server, timesheets=TIMESHEETS)
    with Proxy(server.host, server.port) as proxy:
        site.port = proxy.port
        site.point_env_at(site.url)
        yield site, proxy
    site.end()
