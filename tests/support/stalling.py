"""A TCP proxy before a server that stops passing bytes on, or cuts every connection, when a test wants it to."""

import contextlib
import socket
import struct
import threading
from typing import Self


class Proxy:
    """Listens on a port of loopback while its `with` lasts.

    `stall_after`: bytes from the client (`upward`) or to it, over all connections, after which nothing passes any
    more; `stalled` is set then. `resume` lets all pass again, `reset` cuts what is open, as a broken line does.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.stalled = threading.Event()
        self._may_pass = threading.Event()
        self._may_pass.set()
        self._left: dict[bool, int | None] = {True: None, False: None}
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shut()

    def shut(self) -> None:
        """No more of it: what is open is cut, what is new refused."""
        with contextlib.suppress(OSError):
            # Closing alone would leave it open while a thread waits in accept.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.resume()
        self.reset()

    def stall_after(self, count: int, *, upward: bool) -> None:
        with self._lock:
            self._left = {upward: count, not upward: None}
        self.stalled.clear()

    def resume(self) -> None:
        with self._lock:
            self._left = {True: None, False: None}
        self._may_pass.set()

    def reset(self) -> None:
        """Cut every connection so that its ends are told: by RST, not by a farewell."""
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RD)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            server.settimeout(None)
            with self._lock:
                self._open += [client, server]
            for source, sink, upward in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, sink, upward), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, upward: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                self._count(len(block), upward)
                self._may_pass.wait()
                sink.sendall(block)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int, upward: bool) -> None:
        with self._lock:
            left = self._left[upward]
            if left is None:
                return
            self._left[upward] = left - size
            if left - size <= 0:
                self._may_pass.clear()
                self.stalled.set()
