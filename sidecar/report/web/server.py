"""The web server of the daemon: in a thread of its own, quiet, and ended within a deadline."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sidecar.errors import ConfigurationError
from sidecar.report.web.app import make_app
from sidecar.status import Status
from sidecar.values import Listen

log = logging.getLogger(__name__)

_MOST_REQUESTS = 64
"""At one time, as many connections; whoever comes then is told to come again (503), so that memory has a bound."""
_SILENCE = 10.0
"""Seconds within which a connection must have asked for something, or asked again: idle ones would keep others out."""
_GRACE = 2
"""Seconds that an answer under way gets to be finished when the server ends."""


def serve(status: Callable[[], Status], listen: Listen, *, in_container: bool) -> "Server":
    """Answer from now on. `in_container` decides which command brings a backup back.

    `status` is called for each request, from the server's thread. Raises `ConfigurationError` where HTTP_LISTEN can't
    be listened on; whatever fails later is logged and ends nothing.
    """
    bound = _bind(listen)
    # What strangers send (scanners, TLS where there is none) is not worth a line each.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    config = uvicorn.Config(
        make_app(status, in_container=in_container),
        loop="asyncio",
        http=_Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=_MOST_REQUESTS,
        timeout_graceful_shutdown=_GRACE,
    )
    server = Server(_Waiting(config), bound)
    log.info("status page, metrics and health on %s", server.listen)
    return server


class Server:
    """The server that runs, and where it listens."""

    def __init__(self, running: "_Waiting", bound: socket.socket) -> None:
        self.listen = Listen(*bound.getsockname()[:2])
        self._running = running
        self._socket = bound
        # A daemon thread: one that hangs must not keep the process from ending.
        self._thread = Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    def stop(self, deadline: float) -> None:
        """End it within so many seconds. Requests that take longer are cut off with the process."""
        self._running.end()
        self._thread.join(deadline)
        if self._thread.is_alive():
            log.warning("the status page did not end within %g s: it is left behind", deadline)

    def _run(self) -> None:
        try:
            self._running.run(sockets=[self._socket])
        except (Exception, SystemExit):  # uvicorn ends by the latter what it can't start
            log.exception("the status page has ended; backups go on without it")
        finally:
            self._socket.close()


class _Impatient(H11Protocol):
    """A connection that is ended where no whole request comes; uvicorn ends only those that fall silent."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        self._await_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        # Each request is a cycle of its own.
        self._deadline = self.loop.call_later(_SILENCE, self._end_unless_asked, self.cycle)

    def _end_unless_asked(self, last: object) -> None:
        if self.cycle is last:
            # Not `close`, which waits for one that takes no answer.
            self.transport.abort()


class _Waiting(uvicorn.Server):
    """Sleeps until there is something to do, where uvicorn's own loop wakes up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # `end` sets should_exit before it looks for the loop, so that neither can miss the other.
        if not self.should_exit:
            await self._ended.wait()

    def end(self) -> None:
        """From any thread, at any time."""
        self.should_exit = True
        if self._loop is not None and self._ended is not None:
            with suppress(RuntimeError):  # the loop is closed: it has ended by itself
                self._loop.call_soon_threadsafe(self._ended.set)


def _bind(listen: Listen) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(listen, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] means every address, those of IPv4 too, whatever this machine's default is.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise _unusable(listen, error) from error
    return bound


def _unusable(listen: Listen, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"HTTP_LISTEN {listen}: can't listen there: {error.strerror}",
        mend="Name another address or port, or none: HTTP_LISTEN= turns the status page off.",
    )
