import hashlib
import io
import stat
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.archive.entries import DIRECTORY_LIMIT, HostileZip
from sidecar.archive.writer import Entry, is_compressed, write_archive
from sidecar.archive.zipstream import ZipStream
from sidecar.errors import Refused, StorageFailed

FILE = stat.S_IFREG | 0o600


def read_back(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def written(*entries: Entry) -> bytes:
    file = io.BytesIO()
    write_archive(entries, file)
    return file.getvalue()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("abcäöü😀 %./", min_size=1, max_size=12).filter(lambda name: not name.endswith("/")),
        st.tuples(st.lists(st.binary(max_size=3000), max_size=5), st.booleans()),
        max_size=6,
    )
)
def test_what_is_written_in_any_chunks_another_reader_reads(contents: dict[str, Any]) -> None:
    entries = [Entry(name, FILE, 0, chunks, stored) for name, (chunks, stored) in contents.items()]
    expected = {name: b"".join(chunks) for name, (chunks, _) in contents.items()}
    assert read_back(written(*entries)) == expected


def test_size_and_hash_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        archive = write_archive([Entry("a", FILE, 0, [b"one", b"two"])], file)
    data = path.read_bytes()
    assert (archive.size, archive.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_an_entry_is_asked_for_only_after_the_one_before_was_read() -> None:
    story: list[str] = []

    def chunks(name: str) -> Iterator[bytes]:
        story.append(f"begin {name}")
        yield b"x"
        story.append(f"end {name}")

    def entries() -> Iterator[Entry]:
        for name in ("database.sql", "a.jpg", "manifest.json"):
            story.append(f"ask {name}")
            yield Entry(name, FILE, 0, chunks(name), is_compressed(name))

    write_archive(entries(), io.BytesIO())
    names = ("database.sql", "a.jpg", "manifest.json")
    assert story == [f"{step} {name}" for name in names for step in ("ask", "begin", "end")]


def test_modes_folders_and_links_are_kept() -> None:
    data = written(
        Entry("var/", stat.S_IFDIR | 0o750, 0, []),
        Entry(".env", stat.S_IFREG | 0o600, 0, [b"secret"]),
        Entry("var/link", stat.S_IFLNK | 0o777, 0, [b"../.env"]),
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        folder, file, link = archive.infolist()
        assert [stat.filemode(i.external_attr >> 16) for i in (folder, file, link)] == [
            "drwxr-x---",
            "-rw-------",
            "lrwxrwxrwx",
        ]
        assert folder.is_dir()
        assert archive.read(link) == b"../.env"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1_790_000_001, datetime(2026, 9, 21, 14, 13, 21, tzinfo=UTC)),
        (0, datetime(1980, 1, 1, tzinfo=UTC)),
        (-(10**15), datetime(1980, 1, 1, tzinfo=UTC)),
        (4_102_444_800, datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)),
        (10**15, datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)),
    ],
)
def test_times_are_kept_to_the_second_or_clamped(seconds: int, expected: datetime) -> None:
    data = written(Entry("a", FILE, seconds * 10**9 + 999_999_999, [b"x"]))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (info,) = archive.infolist()
    even = expected.replace(second=expected.second // 2 * 2)
    assert datetime(*info.date_time, tzinfo=UTC) == even
    assert info.extra[-9:-4] == b"UT\x05\x00\x01"
    assert int.from_bytes(info.extra[-4:], "little", signed=True) == int(expected.timestamp())


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "var/x.docx", "b.xlsx", "c.woff2", "d.tar.gz", "e.zip", "f.odt"])
def test_what_is_compressed_already_is_known_by_its_suffix(name: str) -> None:
    assert is_compressed(name)


@pytest.mark.parametrize("name", ["a.pdf", "jpg", ".zip", "a.jpg/b", "a.sql", "a.", "a.twig"])
def test_other_names_are_compressed(name: str) -> None:
    assert not is_compressed(name)


def test_stored_data_grows_by_no_more_than_a_trace_and_other_data_shrinks() -> None:
    data = b"INSERT INTO kimai2_timesheet VALUES (1);\n" * 20_000
    assert len(data) < len(written(Entry("a", FILE, 0, [data], stored=True))) < len(data) * 1.01
    assert len(written(Entry("a", FILE, 0, [data]))) < len(data) / 20


class Sink(io.RawIOBase):
    """A file that keeps nothing, and takes part of a write only, as an unbuffered one may."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return min(len(data), 300_000)


@pytest.mark.parametrize("stored", [False, True])
def test_memory_stays_flat_however_large_an_entry_is(stored: bool) -> None:
    chunk = bytes(range(256)) * 4096
    write_archive([Entry("warm", FILE, 0, [chunk], stored)], Sink())  # type: ignore[arg-type]
    tracemalloc.start()
    write_archive([Entry("a", FILE, 0, (chunk for _ in range(100)), stored)], Sink())  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_full_disk_is_a_storage_failure() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(StorageFailed, match="No space left"):
        write_archive([Entry("a", FILE, 0, [b"x"])], file)


def test_a_full_disk_that_shows_only_at_the_flush_is_one_too() -> None:
    file = Path("/dev/full").open("wb", buffering=1 << 20)  # noqa: SIM115 - its close fails, too
    with pytest.raises(StorageFailed, match="No space left"):
        write_archive([Entry("a", FILE, 0, [b"x"])], file)
    with pytest.raises(OSError, match="No space left"):
        file.close()


def test_a_source_that_fails_is_no_storage_failure() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begun"
        raise PermissionError("source")

    with pytest.raises(PermissionError, match="source"):
        write_archive([Entry("a", FILE, 0, chunks())], io.BytesIO())


def test_a_name_twice_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="'a' twice"):
        written(Entry("a", FILE, 0, [b"1"]), Entry("a", FILE, 0, [b"2"]))


def test_more_entries_than_a_plain_zip_counts_are_all_there() -> None:
    file = io.BytesIO()
    stream = ZipStream(file.write)
    for number in range(70_000):
        stream.add_whole(f"{number}", FILE, 1_000_000_000, b"")
    stream.finish()
    with zipfile.ZipFile(file) as archive:
        assert len(archive.infolist()) == 70_000


class Unchanged:
    """Stands in for a compressor, so that gigabytes cost no time."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def leaving_holes(file: Any) -> Callable[[bytes], object]:
    return lambda piece: file.seek(len(piece), io.SEEK_CUR) if len(piece) > 1 << 20 else file.write(piece)


def test_an_entry_and_an_offset_above_4_gib_are_found_again(tmp_path: Path) -> None:
    chunk = bytes(64 << 20)
    with (tmp_path / "large.zip").open("wb") as file:
        stream = ZipStream(leaving_holes(file))
        stream.add_stream("large", FILE, 1_000_000_000, (chunk for _ in range(65)), Unchanged())
        stream.add_whole("after", FILE, 1_000_000_000, b"still here")
        stream.finish()
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        large, after = archive.infolist()
        assert (large.file_size, large.compress_size) == (65 * len(chunk), 65 * len(chunk))
        assert after.header_offset > 1 << 32
        assert archive.read(after) == b"still here"


def test_a_directory_larger_than_one_that_is_read_back_is_refused_where_it_grows(tmp_path: Path) -> None:
    """As many entries as a directory may have are written and read back; with one more nothing is."""
    name = "/".join(["x" * 250] * 80)
    record = 46 + len(name) + 5 + 9
    most = DIRECTORY_LIMIT // record
    asked = []

    def entries(count: int) -> Iterator[Entry]:
        for number in range(count):
            asked.append(number)
            yield Entry(f"{name}{number:05}", FILE, 0, [])

    with (tmp_path / "a.zip").open("wb") as file:
        write_archive(entries(most), file)
    with HostileZip(tmp_path / "a.zip") as archive:
        assert len(archive.members) == most
    asked.clear()
    with (tmp_path / "b.zip").open("wb") as file, pytest.raises(Refused, match="more than a restore reads") as caught:
        write_archive(entries(most + 10), file)
    assert "very many files" in caught.value.mend
    assert len(asked) == most + 1
