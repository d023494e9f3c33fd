import io
import json
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.archive import legacy
from sidecar.archive.legacy import UNKNOWN_OWNER, LegacyArchive, identify, open_legacy
from sidecar.errors import Damaged, NoSuchBackup
from tests.support.archives import write_backup, write_hostile
from tests.support.examples import examples

DUMP = b"-- MariaDB dump\nCREATE TABLE `kimai2_tags` (`id` int);\n-- Dump completed on 2025-03-01 02:00:01\n"
NOTE = json.dumps({"git": "not available", "version": "2.24.0", "software": "Kimai - 2.24.0"}).encode()
SCRIPT = {
    "kimai2-2025-03-01_02-00.sql": DUMP,
    ".env": b"DATABASE_URL=mysql://kimai@127.0.0.1/kimai\n",
    "var/": b"",
    "var/data/": b"",
    "var/data/invoices/2025-001.pdf": b"%PDF",
    "var/plugins/DemoBundle/DemoBundle.php": b"<?php",
}
EASYBACKUP = {
    "manifest.json": NOTE,
    "database_dump.sql": DUMP.strip(),
    ".env": b"x",
    "config/packages/local.yaml": b"kimai: {}",
    "var/data/.gitkeep": b"",
}


def pack(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return pack(tmp_path / "2025-03-01_02-00.zip", SCRIPT)


@pytest.fixture
def easybackup(tmp_path: Path) -> Path:
    return pack(tmp_path / "2025-03-01_020000.zip", EASYBACKUP)


def read(archive: LegacyArchive, name: str) -> bytes:
    with archive.open(name) as stream:
        return stream.read()


def test_a_zip_of_the_script_is_known_and_read(script: Path) -> None:
    assert identify(script) == "script"
    with open_legacy(script) as archive:
        assert (archive.kind, archive.kimai_version) == ("script", None)
        assert archive.database_name == "kimai2-2025-03-01_02-00.sql"
        assert archive.database_size == len(DUMP)
        assert read(archive, archive.database_name) == DUMP
        found = {file.path: read(archive, file.path) for file in archive.files if file.kind == "file"}
        assert found == {name: SCRIPT[name] for name in SCRIPT if not name.endswith((".sql", "/"))}
        assert [file.path for file in archive.files if file.kind == "folder"] == ["var/data"]
        assert archive.ignored == []
        archive.verify()
        assert archive.warnings == []


def test_a_zip_of_easybackup_is_known_and_read_and_warned_of(easybackup: Path) -> None:
    assert identify(easybackup) == "easybackup"
    with open_legacy(easybackup) as archive:
        assert (archive.kind, archive.kimai_version) == ("easybackup", "2.24.0")
        assert read(archive, archive.database_name) == DUMP.strip()
        assert [file.path for file in archive.files] == [".env", "config/packages/local.yaml", "var/data/.gitkeep"]
        assert archive.ignored == []
        archive.verify()
        (warning,) = archive.warnings
        assert "--force" in warning
        assert "incomplete" in warning


def test_one_of_ours_is_told_from_the_others(tmp_path: Path) -> None:
    write_backup(tmp_path / "ID.zip")
    assert identify(tmp_path / "ID.zip") == "ours"
    with pytest.raises(Damaged, match="one of our own"):
        open_legacy(tmp_path / "ID.zip")


@pytest.mark.parametrize(
    ("noted", "version"),
    [
        ("2.24.0", "2.24.0"),
        ("Kimai 2.0.12 by somebody", "2.0.12"),
        ("1.30-dev", "1.30-dev"),
        ("unknown", None),
        (2.24, None),
        (None, None),
    ],
)
def test_the_version_is_the_first_on_its_line(tmp_path: Path, noted: object, version: str | None) -> None:
    note = json.dumps({"version": noted}).encode()
    with open_legacy(pack(tmp_path / "a.zip", {**EASYBACKUP, "manifest.json": note})) as archive:
        assert archive.kimai_version == version


@pytest.mark.parametrize("note", [b"", b"nonsense", b"[1]", b"\xff\xfe"])
def test_an_easybackup_whose_note_is_unreadable_has_no_version(tmp_path: Path, note: bytes) -> None:
    with open_legacy(pack(tmp_path / "a.zip", {**EASYBACKUP, "manifest.json": note})) as archive:
        assert (archive.kind, archive.kimai_version) == ("easybackup", None)


def test_what_does_not_belong_to_kimai_is_ignored_and_named(tmp_path: Path) -> None:
    strange = {"var/cache/prod/x.php": b"", "src/Kernel.php": b"", "var/database": b"", ".envx": b"", "readme": b""}
    with open_legacy(pack(tmp_path / "a.zip", SCRIPT | strange)) as archive:
        assert archive.ignored == list(strange)
        assert not {file.path for file in archive.files} & set(strange)


def test_links_are_ignored_and_named(tmp_path: Path) -> None:
    write_hostile(tmp_path / "a.zip", ("a.sql", stat.S_IFREG | 0o600), ("var/data/link", stat.S_IFLNK | 0o777))
    with open_legacy(tmp_path / "a.zip") as archive:
        assert archive.files == []
        assert archive.ignored == ["var/data/link"]


def test_of_several_dumps_the_one_that_the_script_names_is_taken(tmp_path: Path) -> None:
    with open_legacy(pack(tmp_path / "a.zip", {"old.sql": b"no", **SCRIPT})) as archive:
        assert archive.database_name == "kimai2-2025-03-01_02-00.sql"
        assert archive.ignored == ["old.sql"]
    with open_legacy(pack(tmp_path / "b.zip", {"dump.sql": DUMP, "var/data/x.sql": b""})) as archive:
        assert archive.database_name == "dump.sql"


@pytest.mark.parametrize("names", [("a.sql", "b.sql"), ("kimai2-1.sql", "kimai2-2.sql")])
def test_several_dumps_that_nothing_tells_apart_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(Damaged, match="holds 2 dumps"):
        open_legacy(pack(tmp_path / "a.zip", dict.fromkeys(names, DUMP)))


@pytest.mark.parametrize(
    ("contents", "seen"),
    [
        ({}, "nothing"),
        ({"holiday/1.jpg": b"", "holiday/2.jpg": b""}, "at its root is holiday"),
        ({"manifest.json": NOTE, "var/data/x": b""}, r"at its root is manifest\.json, var"),
        (dict.fromkeys("abcdefg", b""), "a, b, c, d, e …"),
    ],
)
def test_any_other_zip_is_refused_and_what_it_holds_is_said(
    tmp_path: Path, contents: dict[str, bytes], seen: str
) -> None:
    path = pack(tmp_path / "a.zip", contents)
    for take in (identify, open_legacy):
        with pytest.raises(Damaged, match=seen):
            take(path)


def test_no_zip_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(DUMP)
    with pytest.raises(Damaged, match="not a zip"):
        identify(tmp_path / "a.zip")
    with pytest.raises(NoSuchBackup):
        identify(tmp_path / "b.zip")


def test_a_dump_without_its_last_line_is_warned_of(tmp_path: Path) -> None:
    with open_legacy(pack(tmp_path / "a.zip", {"kimai2-1.sql": DUMP[:60]})) as archive:
        archive.verify()
        (warning,) = archive.warnings
    assert "last line" in warning


def test_verify_tells_how_much_it_read(script: Path) -> None:
    told: list[int] = []
    with open_legacy(script) as archive:
        archive.verify(told.append)
    assert sum(told) == sum(map(len, SCRIPT.values()))


def test_modes_and_times_come_from_the_zip_and_owners_from_nobody(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.sql", DUMP)
        kept = zipfile.ZipInfo(".env", (2025, 3, 1, 2, 0, 0))
        kept.external_attr = (stat.S_IFREG | 0o4600) << 16
        archive.writestr(kept, b"")
        exact = zipfile.ZipInfo("var/data/x", (2025, 3, 1, 2, 0, 0))
        exact.external_attr = 0x20
        exact.extra = b"zz\x01\0.UT\x05\0\x01" + (1_740_794_401).to_bytes(4, "little")
        archive.writestr(exact, b"")
        archive.filelist[-1].external_attr = 0x20
        archive.writestr(zipfile.ZipInfo("var/data/y", (2025, 0, 0, 2, 0, 0)), b"")
    with open_legacy(tmp_path / "a.zip") as archive:
        env, x, y = archive.files
        assert (env.mode, x.mode) == (stat.S_IFREG | 0o600, stat.S_IFREG | 0o640)
        assert (env.mtime, x.mtime, y.mtime) == (1_740_794_400 * 10**9, 1_740_794_401 * 10**9, 0)
        assert {(file.uid, file.gid) for file in archive.files} == {(UNKNOWN_OWNER, UNKNOWN_OWNER)}


def test_names_as_info_zip_writes_them_come_back_exactly(tmp_path: Path) -> None:
    """`zip -r` on Linux stores a name's bytes and doesn't say that they are UTF-8."""
    pack(tmp_path / "a.zip", {"a.sql": DUMP, "var/data/M__ller": b"1", "var/data/bad_name": b"2"})
    data = (tmp_path / "a.zip").read_bytes()
    data = data.replace(b"M__ller", "Müller".encode()).replace(b"bad_name", b"bad\xffname")
    (tmp_path / "a.zip").write_bytes(data)
    with open_legacy(tmp_path / "a.zip") as archive:
        umlaut, odd = archive.files
        assert (umlaut.path, umlaut.path_bytes) == ("var/data/Müller", None)
        assert (odd.path, odd.path_bytes) == ("var/data/bad%FFname", b"var/data/bad\xffname")
        assert read(archive, umlaut.path) == b"1"
        assert read(archive, odd.path) == b"2"


# Damage and traps


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "var\\data\\x", "C:x", "var/data/../../x"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    for contents in (SCRIPT, EASYBACKUP):
        path = pack(tmp_path / "a.zip", {**contents, name: b""})
        with pytest.raises(Damaged, match="which no backup contains"):
            open_legacy(path)


def test_a_bomb_is_refused_by_what_it_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.zip", {**SCRIPT, "var/data/zeros": bytes(1 << 20)})
    with open_legacy(path) as archive:
        assert archive.ignored == []
    monkeypatch.setattr(legacy, "RATIO_FREE", 1 << 19)
    with pytest.raises(Damaged, match="would unpack to"):
        open_legacy(path)


def test_a_large_zip_of_ordinary_ratio_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy, "RATIO_FREE", 0)
    with open_legacy(pack(tmp_path / "a.zip", {**SCRIPT, "var/data/text": DUMP * 50})) as archive:
        archive.verify()


def test_a_bomb_that_says_it_is_small_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kimai2-1.sql", bytes(64 << 20))
        archive.filelist[0].file_size = 1000
    with open_legacy(tmp_path / "a.zip") as bomb, bomb.open("kimai2-1.sql") as stream, pytest.raises(Damaged):
        stream.read(100_000)


def test_an_unknown_name_does_not_open(script: Path) -> None:
    with open_legacy(script) as archive, pytest.raises(Damaged, match="has no 'nothing'"):
        archive.open("nothing")


def buffered(contents: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


WHOLE = buffered(SCRIPT)


def test_a_zip_cut_short_at_any_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for size in range(len(WHOLE)):
        path.write_bytes(WHOLE[:size])
        with pytest.raises(Damaged):
            open_legacy(path)


@settings(max_examples=examples(300), deadline=None)
@given(place=st.integers(0, len(WHOLE) * 8 - 1))
def test_a_flipped_bit_never_changes_a_byte_that_is_restored(
    tmp_path_factory: pytest.TempPathFactory, place: int
) -> None:
    """Damage is refused, or it lies in names, times and modes, which such a zip has no second copy of."""
    flipped = bytearray(WHOLE)
    flipped[place // 8] ^= 1 << place % 8
    path = tmp_path_factory.getbasetemp() / "flipped-legacy.zip"
    path.write_bytes(flipped)
    try:
        with open_legacy(path) as archive:
            archive.verify()
            names = [archive.database_name, *(file.path for file in archive.files if file.kind == "file")]
            found = [read(archive, name) for name in names]
    except Damaged:
        return
    assert set(found) <= set(SCRIPT.values())
    assert DUMP in found
