"""A small TCP proxy that stands between the tool and a server: it passes bytes on, delays them, or cuts them off."""

import select
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on loopback. Set `cut_after` (bytes from the server, over all connections) or `delay` (seconds a block).

    At the cut every connection is reset, or, with `hang`, falls silent. New connections are refused afterwards.
    `hold_after` so many bytes of one direction holds all of it back, `held` is set then, and `release` lets it pass.
    """

    def __init__(self, host: str, port: int) -> None:
        self.cut_after: int | None = None
        self.hang = False
        self.delay = 0.0
        self.passed = 0
        self.held = threading.Event()
        self._until_held: dict[bool, int] = {}
        self._may_pass = threading.Event()
        self._may_pass.set()
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.reset()
        self.release()
        for thread in self._threads:
            thread.join(10)

    def hold_after(self, count: int, *, from_server: bool) -> None:
        """Hold back every connection once so many more bytes have come from the server, or from its clients."""
        with self._lock:
            self._until_held = {from_server: count}
        self.held.clear()

    def release(self) -> None:
        """Let pass what was held back, and all after it."""
        with self._lock:
            self._until_held = {}
        self._may_pass.set()

    def reset(self) -> None:
        """Reset every connection, and take no more."""
        with self._lock:
            if self._listener.fileno() >= 0:
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
                self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        with self._lock:
            for connection in self._open:
                # To linger for no time means an RST instead of an orderly end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            with self._lock:
                self._open += [client, server]
            for pair in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pass, args=pair, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        while True:
            try:
                # Not a blocking recv: a socket that is being read from is not reset by closing it.
                if not select.select([source], [], [], 0.05)[0]:
                    continue
                block = source.recv(65536)
                if self.delay and block:
                    time.sleep(self.delay)
                if counted and self._cut(len(block)):
                    return
                self._hold(len(block), from_server=counted)
                if not block:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(block)
            except (OSError, ValueError):  # ValueError: it has been closed meanwhile
                return

    def _hold(self, size: int, *, from_server: bool) -> None:
        with self._lock:
            if from_server in self._until_held:
                self._until_held[from_server] -= size
                if self._until_held[from_server] <= 0:
                    self._may_pass.clear()
                    self.held.set()
        self._may_pass.wait()

    def _cut(self, size: int) -> bool:
        with self._lock:
            self.passed += size
            if self.cut_after is None or self.passed < self.cut_after:
                return False
        if not self.hang:
            self.reset()
        return True
