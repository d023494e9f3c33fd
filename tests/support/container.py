"""A container's files behind the archive endpoint, as tars that the tests write themselves."""

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from sidecar.errors import Unreachable
from sidecar.kimai.containerfiles import NotThere

ROOT = "/opt/kimai"

Item = tuple[str, bytes | None]
"""A name with its content; None makes a folder of it."""


def tar_of(*items: Item | tarfile.TarInfo, form: int = tarfile.PAX_FORMAT, owner: tuple[int, int] = (33, 33)) -> bytes:
    """A whole tar of these, names as they are given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as tar:
        for item in items:
            if isinstance(item, tarfile.TarInfo):
                tar.addfile(item)
                continue
            given, content = item
            info = tarfile.TarInfo(given)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.mode = 0o755 if content is None else 0o640
            info.uid, info.gid = owner
            info.mtime = 1_700_000_000
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A link, a device or a pipe."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o777
    return info


class FakeContainer:
    """Gives for each path below `ROOT` the tars that were laid down for it, one a request, the last one again."""

    def __init__(self, answers: dict[str, bytes | list[bytes]]) -> None:
        self._answers = {path: [found] if isinstance(found, bytes) else list(found) for path, found in answers.items()}
        self.asked: list[str] = []
        self.stored: list[tuple[str, bytes]] = []
        self.refuses = False

    @contextmanager
    def fetch(self, container: str, path: str, /) -> Iterator[IO[bytes]]:
        assert container == "app"
        below = path.removeprefix(f"{ROOT}/")
        self.asked.append(below)
        answers = self._answers.get(below)
        if answers is None:
            raise NotThere(f"no such path: {path}")
        yield io.BytesIO(answers.pop(0) if len(answers) > 1 else answers[0])

    def store(self, container: str, path: str, tar: IO[bytes], /) -> None:
        assert container == "app"
        if self.refuses:
            raise Unreachable("no")
        self.stored.append((path, tar.read()))


def held(tar: bytes) -> dict[str, tarfile.TarInfo]:
    """The members of a tar by name, read by tarfile as it comes."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {member.name: member for member in opened.getmembers()}


def content_of(tar: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        found = opened.extractfile(name)
        assert found is not None
        return found.read()


def ticking(chunks: Iterable[bytes], tick: Callable[[], None]) -> Iterator[bytes]:
    """Chunks with something done before each."""
    for chunk in chunks:
        tick()
        yield chunk
