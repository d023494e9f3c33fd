"""A backup that isn't what its manifest says is told as damaged by whoever reads it, before anything is touched."""

import json
import random
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.state import State
from tests.support import archives
from tests.support.cli import Site, make_site, without_rights
from tests.support.servers import running


@pytest.fixture
def made(site: Site) -> tuple[Site, Path]:
    """A site whose database is lost, and the zip of its backup."""
    found = site.backups / f"{site.backup()}.zip"
    site.lose_database()
    return site, found


def refused(site: Site, *arguments: str, code: int = 7) -> str:
    """A restore that ends so, and leaves database, files and the shelf as they were; gives its error."""
    before = (site.files(), site.shelf())
    ran = site.run("restore", *arguments)
    assert ran.code == code, ran.said
    assert site.objects() == []
    assert (site.files(), site.shelf(), site.traces()) == (*before, [])
    return ran.err


def test_a_zip_cut_short_anywhere(made: tuple[Site, Path]) -> None:
    site, path = made
    whole = path.read_bytes()
    places = random.Random(7)
    for size in (0, 1, 30, places.randrange(len(whole)), len(whole) - 22, len(whole) - 1):
        path.write_bytes(whole[:size])
        ran = site.run("verify", "--json")
        assert ran.code == 7, size
        assert ran.json()[0]["whole"] is False
        assert ran.json()[0]["problem"]
    refused(site, "latest")
    # Without the manifest that lies beside it, too.
    elsewhere = site.folder / "cut.zip"
    elsewhere.write_bytes(whole[: len(whole) // 2])
    refused(site, str(elsewhere))


def test_a_flipped_bit_anywhere(made: tuple[Site, Path]) -> None:
    site, path = made
    whole = path.read_bytes()
    places = random.Random(11)
    with zipfile.ZipFile(path) as archive:
        dump = archive.getinfo("database.sql")
    # Behind the local header, whose own bytes no reader needs: 30, the name, and an extra of at most 40.
    inside = dump.header_offset + 30 + len(dump.filename) + 200
    for place in (inside, places.randrange(len(whole)), len(whole) - 10):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert site.run("verify").code == 7, place
    refused(site, "latest")
    elsewhere = site.folder / "flipped.zip"
    elsewhere.write_bytes(whole[:inside] + bytes([whole[inside] ^ 4]) + whole[inside + 1 :])
    refused(site, str(elsewhere))


def test_a_manifest_that_is_gone_or_another_backups(made: tuple[Site, Path]) -> None:
    site, path = made
    outer = path.with_suffix(".json")
    text = outer.read_bytes()
    outer.write_bytes(text.replace(b"2.66.0_20", b"2.66.0_19", 1))
    assert site.run("show", path.stem).code == 7
    refused(site, path.stem)
    outer.write_bytes(b"{" + text)
    refused(site, path.stem)
    outer.write_bytes(text.replace(b'"format": 1', b'"format": 9'))
    assert "newer kimai-backup" in refused(site, path.stem)
    outer.unlink()
    ran = site.run("list", "--json")
    assert ran.json() == []
    assert path.name in ran.err
    error = refused(site, "latest", code=10)
    assert path.name in error
    # The zip is whole, and its own manifest inside: it is restored by its path.
    assert site.run("restore", str(path)).code == 0


def test_a_prune_does_not_count_on_a_zip_that_was_cut(made: tuple[Site, Path]) -> None:
    site, path = made
    text = path.with_suffix(".json").read_bytes()
    cut, sound, old = (path.with_name(f"{path.stem[:-16]}2020010{day}T010203Z.zip") for day in (3, 2, 1))
    for each in (cut, sound, old):
        shutil.copy(path, each)
        each.with_suffix(".json").write_bytes(text.replace(path.stem.encode(), each.stem.encode()))
    cut.write_bytes(cut.read_bytes()[:-100])
    path.unlink()
    path.with_suffix(".json").unlink()
    settings = {"RETENTION_DAYS": "30", "RETENTION_MIN_KEEP": "1"}
    reason = f"damaged: {cut.name} has {cut.stat().st_size} bytes, its manifest says {old.stat().st_size}"
    for arguments in (("--dry-run",), ("--dry-run", "--json"), ("--json",)):
        ran = site.run("prune", *arguments, **settings)
        assert ran.code == 0, ran.said
        assert reason in ran.out
    kept = {each["id"]: each["keep"] for each in ran.json()}
    assert kept == {cut.stem: True, sound.stem: True, old.stem: False}
    assert (cut.exists(), sound.exists(), old.exists()) == (True, True, False)


def test_latest_says_which_newer_zip_it_passes_over(made: tuple[Site, Path]) -> None:
    """As a backup that was killed between its zip and its manifest leaves it."""
    site, path = made
    older, newer = (path.with_name(f"{path.stem[:-16]}{year}0101T010203Z.zip") for year in (2020, 2099))
    others = [
        newer.with_name(newer.name.replace(".zip", "_safety.zip")),
        newer.with_name(f"kimai_other{newer.name[11:]}"),
    ]
    for each in (older, newer, *others):
        shutil.copy(path, each)
    for reference, told in (("latest", True), (path.stem, False)):
        ran = site.run("restore", reference, "--dry-run")
        assert ran.code == 0, ran.said
        assert (newer.name in ran.out) == told
        assert not any(each.name in ran.out for each in (older, *others))
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    [note] = [line for line in ran.out.splitlines() if newer.name in line]
    assert note.startswith("! ")
    assert f"restore {newer}" in note


def test_rows_that_are_not_those_of_the_manifest(made: tuple[Site, Path]) -> None:
    """The zip agrees with its manifest byte for byte, yet not with what the server loads from it."""
    site, path = made
    inner = json.loads(path.with_suffix(".json").read_bytes())
    table = next(table for table in inner["database"]["tables"] if table["name"] == "kimai2_tags")
    table["rows"] += 1
    inner["archive"] = None
    lying = site.folder / "lying.zip"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(lying, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            data = source.read(info)
            target.writestr(info, json.dumps(inner).encode() if info.filename == "manifest.json" else data)
    error = refused(site, str(lying))
    assert "what was loaded isn't what was backed up" in error
    assert "kimai2_tags" in error


HOSTILE = [
    ("../../escaped", stat.S_IFREG | 0o644),
    ("/etc/escaped", stat.S_IFREG | 0o644),
    ("var/data/../../../escaped", stat.S_IFREG | 0o644),
    ("var/data/device", stat.S_IFBLK | 0o644),
    ("var/data/pipe", stat.S_IFIFO | 0o644),
]


@pytest.mark.parametrize(("name", "mode"), HOSTILE)
def test_no_entry_of_a_zip_leads_outside(site: Site, name: str, mode: int) -> None:
    site.lose_database()
    path = site.folder / "in" / "hostile.zip"
    path.parent.mkdir()
    archives.write_hostile(path, ("kimai2-2026-01-01_00-00.sql", stat.S_IFREG | 0o644), (name, mode))
    before = sorted(path.name for path in site.folder.iterdir())
    refused(site, str(path), "--accept-unknown-version")
    assert [name for name in sorted(path.name for path in site.folder.iterdir()) if name != "state"] == before
    assert not Path("/etc/escaped").exists()


def test_links_that_lead_outside_and_setuid_bits_do_not_come_back(site: Site) -> None:
    outside = site.folder / "outside"
    outside.mkdir()
    (site.root / "var/data/way-out").symlink_to(outside)
    (site.root / "var/data/absolute").symlink_to("/etc")
    program = site.root / "var/data/program"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o6755)
    site.backup()
    site.lose_all()
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert not (site.root / "var/data/way-out").is_symlink()
    assert not (site.root / "var/data/absolute").is_symlink()
    assert "var/data/way-out leads outside of Kimai" in ran.said
    assert (site.root / "var/data/newest.pdf").is_symlink()


def test_a_link_in_the_target_is_never_written_through(site: Site) -> None:
    site.backup()
    site.lose_all()
    outside = site.folder / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    (site.root / "var/data").symlink_to(outside)
    ran = site.run("restore", "latest")
    assert [path.name for path in outside.iterdir()] == ["mine.txt"]
    if ran.code == 0:
        assert not (site.root / "var/data").is_symlink()
    else:
        assert ran.code == 8
        assert (site.root / "var/data").is_symlink()
        assert site.objects() == []


# ── Targets that a restore refuses ───────────────────────────────────────────────────────────────────────────


def test_a_database_that_is_not_empty(site: Site) -> None:
    site.backup()
    site.remember()
    for only in ([], ["--only", "database"]):
        ran = site.run("restore", "latest", *only)
        assert ran.code == 8
        assert "is not empty: 16 objects, such as table " in ran.errors[0]
        assert "make a new one, or drop and create this one" in ran.errors[0]
    site.assert_restored()


def test_kimai_that_is_not_installed(site: Site) -> None:
    site.backup()
    site.lose_database()
    moved = site.folder / "elsewhere"
    shutil.move(site.root, moved)
    ran = site.run("restore", "latest", DATABASE_URL=site.url)
    assert ran.code == 4
    assert site.objects() == []
    assert not site.root.exists()


def test_a_folder_that_may_not_be_written(site: Site) -> None:
    site.backup()
    site.lose_database()
    before = site.files()
    (site.root / "var").chmod(0o555)
    ran = site.run("restore", "latest", prefix=without_rights())
    (site.root / "var").chmod(0o755)
    assert ran.code == 8, ran.said
    assert "can't be written to" in ran.errors[0]
    assert site.objects() == []
    assert site.files() == before


def test_a_journal_that_can_not_be_written(site: Site) -> None:
    """Without it a kill could not be mended, so nothing is begun."""
    site.backup()
    site.lose_all()
    State(site.state, "kimai", site.root).journal.with_suffix(".part").mkdir()
    before = site.files()
    ran = site.run("restore", "latest")
    assert ran.code == 6, ran.said
    assert "Make room in BACKUP_STATE_DIR" in ran.errors[0]
    assert (site.objects(), site.files()) == ([], before)


def test_a_journal_that_can_not_be_read(site: Site) -> None:
    site.backup()
    site.lose_all()
    State(site.state, "kimai", site.root).journal.write_bytes(b'{"backup": ')
    ran = site.run("restore", "latest")
    assert ran.code == 4, ran.said
    assert "Look at the database and Kimai's folder yourself, then remove that file" in ran.errors[0]
    assert site.objects() == []


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Site]:
    with running("--max-allowed-packet=64M") as server:
        yield make_site(tmp_path, server, timesheets=10)


def test_a_statement_that_the_server_would_not_take(own_server: Site) -> None:
    site, server = own_server, own_server.server
    site.sql(
        "CREATE TABLE large (id INT PRIMARY KEY, body LONGTEXT)", "INSERT INTO large VALUES (1, REPEAT('x', 3000000))"
    )
    site.remember()
    site.backup()
    site.lose_database()
    server.run("SET GLOBAL max_allowed_packet = 1048576")
    before = site.files()
    ran = site.run("restore", "latest")
    assert ran.code == 8, ran.said
    assert "Set max_allowed_packet to" in ran.errors[0]
    assert site.objects() == []
    assert site.files() == before
    server.run("SET GLOBAL max_allowed_packet = 16777216")
    assert site.run("restore", "latest").code == 0
    site.assert_restored()


def test_nothing_is_left_open_for_others(site: Site) -> None:
    """Backups hold password hashes: nobody but us may read them, nor the journal and the lock."""
    site.backup()
    assert stat.S_IMODE(site.state.stat().st_mode) == 0o700
    for path in (*site.backups.iterdir(), *site.state.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_cache_that_cannot_be_emptied_is_known_before_anything_is_loaded(site: Site) -> None:
    site.backup()
    site.lose_all()
    (site.root / "var/cache").rename(site.root / "elsewhere")
    (site.root / "var/cache").symlink_to("../elsewhere")
    ran = site.run("restore", "latest")
    assert ran.code == 8
    assert "var/cache" in ran.said
    assert site.objects() == []
