"""What a command in a container printed, taken out of the engine's frames wherever the network cuts them."""

import io
import struct
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kimai.console import OUTPUT_LIMIT
from sidecar.kimai.docker import _split

FAR = time.monotonic() + 3600


def frame(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(content)) + content


class Pieces(io.RawIOBase):
    """A stream that gives at most as many bytes at once as the next number says."""

    def __init__(self, content: bytes, sizes: Iterable[int]) -> None:
        super().__init__()
        self._left = content
        self._sizes = iter(sizes)
        self.asked = 0

    def read(self, size: int = -1) -> bytes:
        self.asked = max(self.asked, size)
        step = min(size, next(self._sizes, size))
        found, self._left = self._left[:step], self._left[step:]
        return found


_frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12)


@given(frames=_frames, sizes=st.lists(st.integers(1, 11)))
def test_frames_cut_anywhere(frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = Pieces(b"".join(frame(kind, content) for kind, content in frames), sizes)
    expected = tuple(b"".join(content for kind, content in frames if kind == wanted) for wanted in (1, 2))
    assert _split(stream, FAR) == expected


@given(frames=_frames.filter(bool), data=st.data())
def test_a_stream_that_ends_within_a_frame_is_no_output(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    whole = [frame(kind, content) for kind, content in frames]
    ends = {0}
    for each in whole:
        ends.add(max(ends) + len(each))
    cut = data.draw(st.integers(1, max(ends) - 1).filter(lambda place: place not in ends))
    with pytest.raises(ConnectionError, match="cut off"):
        _split(Pieces(b"".join(whole)[:cut], ()), FAR)


def test_no_output_at_all() -> None:
    assert _split(Pieces(b"", ()), FAR) == (b"", b"")


def test_a_stream_of_another_number_is_kept_with_the_errors() -> None:
    assert _split(Pieces(frame(3, b"from the engine") + frame(1, b"out"), ()), FAR) == (b"out", b"from the engine")


def test_more_than_the_limit_is_read_and_not_kept() -> None:
    """Both streams have a limit of their own, and a frame that says it is huge is never asked for at once."""
    flood = frame(1, b"o" * (OUTPUT_LIMIT + 70_000)) + frame(2, b"e" * 10) + frame(1, b"more") + frame(2, b"E")
    stream = Pieces(flood, ())
    stdout, stderr = _split(stream, FAR) or (b"", b"")
    assert (len(stdout), stderr) == (OUTPUT_LIMIT, b"e" * 10 + b"E")
    assert stream.asked <= 1 << 16


def test_what_goes_on_after_its_time_is_given_up() -> None:
    assert _split(Pieces(frame(1, b"tick") * 3, ()), time.monotonic() - 1) is None


class Endless(io.RawIOBase):
    """Frames without content, for ever."""

    def read(self, size: int = -1) -> bytes:
        return frame(1, b"")[:size]


def test_frames_with_nothing_in_them_do_not_outlast_the_deadline() -> None:
    started = time.monotonic()
    assert _split(Endless(), started + 0.2) is None
    assert time.monotonic() - started < 5
