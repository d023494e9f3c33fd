import copy
import errno
import hashlib
import io
import os
import random
import shutil
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar import manifest as manifests
from sidecar.archive import entries
from sidecar.archive.entries import DIRECTORY_LIMIT, MANIFEST_LIMIT
from sidecar.archive.reader import ArchiveReader, link_target
from sidecar.archive.source import open_source
from sidecar.errors import Damaged, NoSuchBackup, StorageFailed
from sidecar.manifest import File, Manifest
from tests.support.archives import (
    SAMPLE,
    SQL,
    file_of,
    folder_of,
    link_of,
    manifest_of,
    write_backup,
    write_hostile,
)
from tests.support.examples import examples

GOLDEN = Path(__file__).parents[1] / "golden"
FILE, FOLDER, LINK = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    path = tmp_path_factory.mktemp("archive") / "ID.zip"
    return path, write_backup(path)


def contents(reader: ArchiveReader, manifest: Manifest) -> dict[str, bytes]:
    names = ["database.sql", *(file.path for file in manifest.files)]
    found = {}
    for name in names:
        with reader.open(name) as stream:
            found[name] = stream.read()
    return found


ORIGINAL = {"database.sql": SQL, **{file.path: content for file, content in SAMPLE}}


def test_a_backup_reads_back_as_it_was(whole: tuple[Path, Manifest]) -> None:
    path, manifest = whole
    with ArchiveReader(path) as reader:
        inner = reader.read_manifest()
        assert inner == msgspec.structs.replace(manifest, archive=None)
        reader.check(manifest)
        assert contents(reader, manifest) == ORIGINAL


def test_verify_reads_every_byte_and_says_so(whole: tuple[Path, Manifest]) -> None:
    path, manifest = whole
    told: list[int] = []
    with ArchiveReader(path) as reader:
        reader.verify(manifest, told.append)
    assert sum(told) == len(SQL) + sum(len(content) for _, content in SAMPLE)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all that is read from archives."""
    sizes: list[int] = []

    class Counted(entries._BoundedFile):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            sizes.append(len(data))
            return data

    monkeypatch.setattr(entries, "_BoundedFile", Counted)
    return sizes


@pytest.mark.parametrize("checked_before", [False, True])
def test_verify_reads_the_zip_once_for_its_hash_and_once_for_its_entries(
    tmp_path: Path, counted: list[int], checked_before: bool
) -> None:
    content = random.Random(1).randbytes(3 << 20)
    manifest = write_backup(tmp_path / "a.zip", [(file_of(b"var/data/a.jpg", content), content)])
    size = (tmp_path / "a.zip").stat().st_size
    with ArchiveReader(tmp_path / "a.zip") as reader:
        if checked_before:
            reader.check(manifest)
        reader.verify(manifest)
    assert 2 * len(content) < sum(counted) < 2 * size + 16_000


@pytest.mark.parametrize("beside", [False, True])
def test_a_source_is_hashed_once_where_there_is_a_hash(tmp_path: Path, counted: list[int], beside: bool) -> None:
    content = random.Random(1).randbytes(3 << 20)
    manifest = write_backup(tmp_path / "a.zip", [(file_of(b"var/data/a.jpg", content), content)])
    size = (tmp_path / "a.zip").stat().st_size
    with open_source(tmp_path / "a.zip", manifest if beside else None) as source:
        source.verify(lambda count: None)
    passes = 2 if beside else 1
    assert passes * len(content) < sum(counted) < passes * size + 32_000


def test_another_manifest_is_checked_anew(whole: tuple[Path, Manifest]) -> None:
    path, manifest = whole
    with ArchiveReader(path) as reader:
        reader.check(manifest)
        with pytest.raises(Damaged, match="another manifest than the one beside it"):
            reader.verify(msgspec.structs.replace(manifest, instance="other"))


def test_the_manifest_inside_is_enough_where_there_is_none_beside(whole: tuple[Path, Manifest]) -> None:
    with ArchiveReader(whole[0]) as reader:
        reader.verify(reader.read_manifest())


def test_exact_targets_come_from_the_manifest() -> None:
    assert link_target(link_of("a", b"b\xff")) == b"b\xff"
    assert link_target(link_of("a", b"b")) == b"b"


def test_nothing_opens_before_the_check(whole: tuple[Path, Manifest]) -> None:
    with ArchiveReader(whole[0]) as reader, pytest.raises(Damaged, match="no checked entry"):
        reader.open("database.sql")


def test_a_name_that_the_manifest_lacks_does_not_open(whole: tuple[Path, Manifest]) -> None:
    path, manifest = whole
    with ArchiveReader(path) as reader:
        reader.check(manifest)
        with pytest.raises(Damaged, match="'nothing'"):
            reader.open("nothing")


# Damage


def test_an_archive_cut_short_at_any_byte_is_refused(whole: tuple[Path, Manifest], tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    shutil.copy(whole[0], cut)
    for size in reversed(range(cut.stat().st_size)):
        os.truncate(cut, size)
        with pytest.raises(Damaged):
            ArchiveReader(cut)


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(whole: tuple[Path, Manifest], data: st.DataObject) -> None:
    """Without the archive's own hash. A bit that passes may lie only where nothing is read from: times, versions,
    modes' bits that the manifest has as well, the local header's copies. What is restored is the same."""
    path, manifest = whole
    flipped = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(flipped) * 8 - 1))
    flipped[place // 8] ^= 1 << place % 8
    damaged = path.with_name("flipped.zip")
    damaged.write_bytes(flipped)
    try:
        with ArchiveReader(damaged) as reader:
            inner = reader.read_manifest()
            reader.verify(inner)
            found = contents(reader, inner)
    except Damaged:
        return
    assert inner == msgspec.structs.replace(manifest, archive=None)
    assert found == ORIGINAL


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_any_bytes_changed_anywhere_are_found_or_change_nothing(
    whole: tuple[Path, Manifest], data: st.DataObject
) -> None:
    path, manifest = whole
    changed = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(changed) - 1))
    piece = data.draw(st.binary(min_size=1, max_size=12) | st.just(b"\xff" * 8) | st.just(bytes(8)))
    changed[place : place + len(piece)] = piece
    damaged = path.with_name("changed.zip")
    damaged.write_bytes(changed)
    try:
        with ArchiveReader(damaged) as reader:
            inner = msgspec.structs.replace(manifest, archive=None)
            reader.verify(inner)
            found = contents(reader, inner)
    except Damaged:
        return
    assert found == ORIGINAL


def test_a_flipped_bit_in_any_entry_is_named_with_that_entry(whole: tuple[Path, Manifest], tmp_path: Path) -> None:
    path, manifest = whole
    inner = msgspec.structs.replace(manifest, archive=None)
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if info.file_size and info.filename != "manifest.json"]
    for info in infos:
        flipped = bytearray(path.read_bytes())
        begin = info.header_offset + 30 + len(info.filename.encode()) + 9
        begin += 20 if info.compress_type == zipfile.ZIP_DEFLATED else 0
        flipped[begin + info.compress_size // 2] ^= 0x10
        damaged = tmp_path / "flipped.zip"
        damaged.write_bytes(flipped)
        with ArchiveReader(damaged) as reader, pytest.raises(Damaged, match="flipped") as refusal:
            reader.verify(inner)
        assert info.filename in str(refusal.value)


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_any_flipped_bit_at_all_breaks_the_archives_own_hash(whole: tuple[Path, Manifest], data: st.DataObject) -> None:
    path, manifest = whole
    flipped = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(flipped) * 8 - 1))
    flipped[place // 8] ^= 1 << place % 8
    damaged = path.with_name("flipped.zip")
    damaged.write_bytes(flipped)
    with pytest.raises(Damaged), ArchiveReader(damaged) as reader:
        reader.check(manifest)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_other_file_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "nonsense.zip"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        ArchiveReader(path)


def test_a_missing_file_is_no_such_backup(tmp_path: Path) -> None:
    with pytest.raises(NoSuchBackup, match=r"ID\.zip is not there"):
        ArchiveReader(tmp_path / "ID.zip")


def test_a_file_that_cannot_be_read_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=os.strerror(errno.EISDIR)):
        ArchiveReader(tmp_path)


# The archive against its manifest


def refused(path: Path, manifest: Manifest, message: str) -> None:
    with ArchiveReader(path) as reader, pytest.raises(Damaged, match=message):
        reader.verify(manifest)


def replace_archive(manifest: Manifest, **changes: Any) -> Manifest:
    assert manifest.archive is not None
    return msgspec.structs.replace(manifest, archive=msgspec.structs.replace(manifest.archive, **changes))


def test_another_size_or_hash_of_the_archive_is_refused(whole: tuple[Path, Manifest]) -> None:
    path, manifest = whole
    refused(path, replace_archive(manifest, size=7), "its manifest says 7")
    refused(path, replace_archive(manifest, sha256="00" * 32), "SHA-256 differs")


def test_a_manifest_beside_that_differs_from_the_one_inside_is_refused(whole: tuple[Path, Manifest]) -> None:
    path, manifest = whole
    refused(path, msgspec.structs.replace(manifest, instance="other"), "another manifest")


def test_an_archive_without_a_manifest_at_its_end_is_refused(tmp_path: Path) -> None:
    for names in ([], ["manifest.json", "after"], ["database.sql"]):
        write_hostile(tmp_path / "a.zip", *((name, FILE) for name in names))
        with ArchiveReader(tmp_path / "a.zip") as reader, pytest.raises(Damaged, match="does not end with"):
            reader.read_manifest()


def test_a_manifest_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    write_hostile(tmp_path / "a.zip", ("manifest.json", FILE))
    with ArchiveReader(tmp_path / "a.zip") as reader, pytest.raises(Damaged, match="can't be read"):
        reader.read_manifest()


def test_what_the_archive_lacks_or_has_too_much_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    files = [file for file, _ in SAMPLE]
    refused(path, write_backup(path, SAMPLE[:-1], manifest=manifest_of(files)), "lacks 'var/data/latest'")
    refused(path, write_backup(path, manifest=manifest_of(files[1:])), r"holds '\.env' .* doesn't name")


FORGED: list[tuple[File, bytes, File, str]] = [
    (file_of(b"a", b"short"), b"short", file_of(b"a", b"longer"), "with 5 bytes, not 6"),
    (file_of(b"a", b"other"), b"other", file_of(b"a", b"those"), "SHA-256 differs"),
    (file_of(b"a", b"b"), b"b", link_of("a", b"b"), "as a file, its manifest says link"),
    (link_of("a", b"evil"), b"evil", link_of("a", b"good"), "SHA-256 differs"),
    (link_of("a", b"../../etc"), b"../../etc", file_of(b"a", b"../../etc"), "as a link"),
    (folder_of("a"), b"", file_of(b"a", b""), "as a folder"),
]


@pytest.mark.parametrize(("stored", "content", "named", "message"), FORGED)
def test_an_entry_that_is_not_what_the_manifest_names_is_refused(
    tmp_path: Path, stored: File, content: bytes, named: File, message: str
) -> None:
    path = tmp_path / "a.zip"
    refused(path, write_backup(path, [(stored, content)], manifest=manifest_of([named])), message)


@pytest.mark.parametrize("dump", [SQL + b"-- one more\n", SQL[:-1]])
def test_a_dump_of_another_length_than_the_manifests_is_refused(tmp_path: Path, dump: bytes) -> None:
    path = tmp_path / "a.zip"
    refused(path, write_backup(path, [], dump, manifest=manifest_of([])), "database.sql")


def altered(**changes: Any) -> File:
    return msgspec.structs.replace(file_of(b"a", b"x"), **changes)


TRAPS = [
    altered(path="../a"),
    altered(path="/etc/cron.d/a"),
    altered(path="database.sql"),
    altered(path="manifest.json"),
    altered(path_bytes=b"../../etc/passwd"),
    altered(mode=stat.S_IFCHR | 0o600),
    altered(mode=-1),
    altered(mode=1 << 20),
    altered(uid=-1),
    altered(gid=2**32 - 1),
    altered(mtime=10**30),
    altered(sha256=None),
    altered(size=-1),
    msgspec.structs.replace(link_of("a", b"b"), target=None),
    msgspec.structs.replace(link_of("a", b"b"), target_bytes=b"/etc"),
]


@pytest.mark.parametrize("file", TRAPS)
def test_a_manifest_with_a_trap_in_it_is_refused(tmp_path: Path, file: File) -> None:
    path = tmp_path / "a.zip"
    manifest = write_backup(path, [(file_of(b"a", b"x"), b"x")], manifest=manifest_of([file]))
    with ArchiveReader(path) as reader, pytest.raises(Damaged):
        reader.check(manifest)


def test_a_manifest_that_names_a_file_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    file = file_of(b"a", b"x")
    refused(path, write_backup(path, [(file, b"x")], manifest=manifest_of([file, file])), "names 'a' twice")


# Zips made to harm


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../evil", FILE)], "which no backup contains"),
        ([("/etc/passwd", FILE)], "which no backup contains"),
        ([("a\\..\\b", FILE)], "which no backup contains"),
        ([("a\0b", FILE)], "which no backup contains"),
        ([("C:evil", FILE)], "which no backup contains"),
        ([("", FILE)], "which no backup contains"),
        ([("a", FILE), ("a", FILE)], "'a' twice"),
        ([("a", FILE), ("a/", FOLDER)], "'a' twice"),
        ([("a", FILE), ("a/b", FILE)], "below the file 'a'"),
        ([("a/b/c", FILE), ("a", LINK)], "below the link 'a'"),
        ([("a", stat.S_IFCHR)], "something other"),
        ([("a", stat.S_IFBLK)], "something other"),
        ([("a", stat.S_IFIFO)], "something other"),
        ([("a", stat.S_IFSOCK)], "something other"),
        ([("a", FOLDER)], "something other"),
        ([("a/", FILE)], "no folder has"),
        ([("a/", LINK)], "no folder has"),
    ],
)
def test_a_hostile_entry_is_refused_at_once(tmp_path: Path, entries: list[tuple[str, int]], message: str) -> None:
    write_hostile(tmp_path / "a.zip", *entries)
    with pytest.raises(Damaged, match=message):
        ArchiveReader(tmp_path / "a.zip")


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    write_hostile(tmp_path / "a.zip", ("a", FILE))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(Damaged, match="encrypted"):
        ArchiveReader(tmp_path / "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a", b"x" * 100)
    with pytest.raises(Damaged, match="by method"):
        ArchiveReader(tmp_path / "a.zip")


def test_a_stored_entry_of_two_sizes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"x" * 100)
        archive.filelist[0].file_size = 5
    with pytest.raises(Damaged, match="two sizes"):
        ArchiveReader(tmp_path / "a.zip")


def test_a_manifest_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"{}")
        archive.filelist[0].file_size = MANIFEST_LIMIT + 1
    with ArchiveReader(tmp_path / "a.zip") as reader, pytest.raises(Damaged, match=f"more than {MANIFEST_LIMIT}"):
        reader.read_manifest()


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kernel", os.urandom(10_000))
        for number in range(10):
            twin = copy.copy(archive.filelist[0])
            twin.filename = f"copy{number}"
            archive.filelist.append(twin)
    with pytest.raises(Damaged, match="overlap"):
        ArchiveReader(tmp_path / "a.zip")


def test_a_directory_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    size = DIRECTORY_LIMIT + 1
    with (tmp_path / "a.zip").open("wb") as file:
        file.truncate(size)
        file.seek(0, io.SEEK_END)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))
    with pytest.raises(Damaged, match=f"its directory would take {size} bytes"):
        ArchiveReader(tmp_path / "a.zip")


def bomb(path: Path, says: int) -> Manifest:
    """An archive with 64 MB of zeros in an entry of which zip and manifest say that it has `says` bytes."""
    named = File(path="a", mode=FILE, mtime=0, uid=0, gid=0, size=says, sha256=hashlib.sha256(bytes(says)).hexdigest())
    manifest = manifest_of([named])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("database.sql", SQL)
        archive.writestr("a", bytes(64 << 20))
        archive.writestr("manifest.json", manifests.encode(manifest))
        for info in archive.filelist:
            info.external_attr = FILE << 16
        archive.filelist[1].file_size = says
    return manifest


def test_an_entry_that_unpacks_to_more_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    manifest = bomb(tmp_path / "a.zip", says=1000)
    with ArchiveReader(tmp_path / "a.zip") as reader:
        reader.check(manifest)
        with reader.open("a") as stream, pytest.raises(Damaged, match=r"a\.zip: a"):
            stream.read(100_000)


def test_a_large_entry_where_the_manifest_says_a_small_one_is_refused(tmp_path: Path) -> None:
    manifest = bomb(tmp_path / "a.zip", says=64 << 20)
    small = msgspec.structs.replace(manifest, files=[msgspec.structs.replace(manifest.files[0], size=1)])
    with ArchiveReader(tmp_path / "a.zip") as reader, pytest.raises(Damaged):
        reader.check(small)


# Formats of old


def test_an_archive_of_every_format_ever_published_is_still_read() -> None:
    folders = {path.name: path for path in GOLDEN.glob("format-*")}
    assert set(folders) == {f"format-{number}" for number in range(1, manifests.FORMAT + 1)}
    for folder in folders.values():
        (beside,) = folder.glob("*.json")
        manifest = manifests.decode(beside.read_bytes())
        with ArchiveReader(beside.with_suffix(".zip")) as reader:
            reader.verify(manifest)
            found = contents(reader, manifest)
        assert manifest.id == beside.stem
        assert found["database.sql"].startswith(b"CREATE TABLE")
        assert found["var/data/Rechnung Müller 😀.pdf"].startswith(b"%PDF")
