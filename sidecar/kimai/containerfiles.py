"""What reading and writing files of a container asks of the engine."""

from contextlib import AbstractContextManager
from typing import IO, Protocol

from sidecar.errors import Unreachable


class NotThere(Unreachable):
    """The container, or the path in it, doesn't exist."""


class ContainerFiles(Protocol):
    """The engine's archive endpoint: paths of a container, running or not, out and in as tar streams."""

    def fetch(self, container: str, path: str, /) -> AbstractContextManager[IO[bytes]]:
        """What lies at a path. Raises `NotThere`, and `Unreachable`, while it is read as well."""

    def store(self, container: str, path: str, tar: IO[bytes], /) -> None:
        """Unpack a tar into a folder. Raises `NotThere`, `Unreachable`."""
