"""The zips that people already have: the documented script's and EasyBackup's, restored or refused."""

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Site
from tests.support.zips_of_others import files_of, pack, script_zip


def test_the_scripts_zip_is_restored_once_the_version_is_vouched_for(site: Site) -> None:
    rows, files = site.rows(), files_of(site)
    path = script_zip(site)
    site.lose_all()
    before = site.files()
    ran = site.run("restore", str(path))
    assert ran.code == 8, ran.said
    assert "doesn't say which version of Kimai it is of; Kimai 2.66.0 is installed" in ran.errors[0]
    assert "--accept-unknown-version" in ran.errors[0]
    assert (site.objects(), site.files()) == ([], before)
    dry = site.run("restore", str(path), "--accept-unknown-version", "--dry-run")
    assert dry.code == 0, dry.said
    assert "kimai2-2026-11-20_02-00.sql" in dry.out
    assert site.objects() == []
    ran = site.run("restore", str(path), "--accept-unknown-version")
    assert ran.code == 0, ran.said
    assert site.rows() == rows
    assert files_of(site) == files
    assert "can't be compared" in ran.out
    assert site.traces() == []


CONSOLE = """#!/bin/sh
case $1 in
  kimai:version) echo 2.66.0 ;;
  kimai:reload) echo "[OK] Kimai config was reloaded" ;;
  doctrine:migrations:up-to-date) echo "Up-to-date!" ;;
esac
"""


def let_var_run_the_console(site: Site) -> None:
    """A console that the owner of var/ can run, who is another user than ours: it needs nothing of the test's."""
    (site.root / "bin/console").write_text(CONSOLE)
    for folder in (site.folder, *site.folder.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)


def test_files_whose_owner_the_zip_does_not_know_get_that_of_var_and_no_rights_of_their_own(site: Site) -> None:
    program = site.root / "var/data/program"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o6755)
    path = script_zip(site)
    with zipfile.ZipFile(path) as archive:
        assert stat.S_IMODE(archive.getinfo("var/data/program").external_attr >> 16) == 0o6755
    site.lose_all()
    # Only root may give files away; anybody else's stay their own, as var is.
    owner = (33, 34) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(site.root / "var", *owner)
    let_var_run_the_console(site)
    ran = site.run("restore", str(path), "--accept-unknown-version")
    assert ran.code == 0, ran.said
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    restored = [site.root / name for name in files_of(site)]
    assert len(restored) > 3
    assert {(each.stat().st_uid, each.stat().st_gid) for each in restored} == {owner}


@pytest.mark.parametrize(("noted", "code"), [("2.66.0", 0), ("2.30.0", 8), (None, 8)])
def test_easybackups_zip_and_the_version_it_notes(site: Site, noted: str | None, code: int) -> None:
    rows, files = site.rows(), files_of(site)
    note = {"git": "not available", "software": "Kimai"} | ({"version": noted} if noted else {})
    path = pack(site, "2024-05-06_070809.zip", "database_dump.sql", site.server.native_dump(site.database), note)
    site.lose_all()
    before = site.files()
    ran = site.run("restore", str(path))
    assert ran.code == code, ran.said
    if code:
        assert "2.66.0 is installed" in ran.errors[0]
        assert (site.objects(), site.files(), site.traces()) == ([], before, [])
    else:
        assert site.rows() == rows
        assert files_of(site) == files
        assert "EasyBackup dumps with --force" in ran.out


def test_a_cut_dump_is_told(site: Site) -> None:
    dump = site.server.native_dump(site.database)
    path = script_zip(site, dump[: dump.rindex(b"-- Dump completed")])
    site.lose_all()
    ran = site.run("restore", str(path), "--accept-unknown-version")
    assert ran.code == 0, ran.said
    assert "lacks the last line of a whole dump" in ran.out


HOSTILE = (
    b"GRANT ALL PRIVILEGES ON *.* TO 'evil'@'%' IDENTIFIED BY '';",
    b"USE mysql;",
    b"SELECT * FROM kimai2_users INTO OUTFILE 'kimai-stolen';",
    b"LOAD DATA INFILE '/etc/passwd' INTO TABLE kimai2_tags;",
    b"INSERT INTO mysql.global_priv VALUES ('%', 'evil', '{}');",
    b"CREATE TABLE `test`.`evil` (id int);",
    b"DROP DATABASE mysql;",
    b"SET GLOBAL general_log = 1;",
    b"/*!50000 CREATE USER 'evil'@'%' */;",
    b"nonsense that is no statement;",
)


def test_a_hostile_dump_is_refused_and_taken_back(site: Site) -> None:
    """Even by an account that may do all of it."""
    dump = site.server.native_dump(site.database)
    almighty = site.server.url(site.database)
    site.lose_all()
    before = site.files()
    for statement in HOSTILE:
        path = script_zip(site, dump.replace(b"-- Dump completed", statement + b"\n-- Dump completed"))
        ran = site.run("restore", str(path), "--accept-unknown-version", DATABASE_URL=almighty)
        assert ran.code == 8, (statement, ran.said)
        assert (site.objects(), site.files(), site.traces()) == ([], before, []), statement
    assert not site.server.run("SELECT User FROM mysql.user WHERE User = 'evil'")
    assert site.server.run("SELECT @@GLOBAL.general_log") == [(0,)]


@pytest.mark.parametrize("spoil", [lambda data: data[:-40], lambda data: data[:5000], lambda data: b"PK no zip"])
def test_a_damaged_zip_of_others(site: Site, spoil: Callable[[bytes], bytes]) -> None:
    path = script_zip(site)
    path.write_bytes(spoil(path.read_bytes()))
    site.lose_all()
    before = site.files()
    ran = site.run("restore", str(path), "--accept-unknown-version")
    assert ran.code == 7, ran.said
    assert (site.objects(), site.files(), site.traces()) == ([], before, [])


def test_a_zip_that_is_no_backup(site: Site) -> None:
    path = site.folder / "holiday.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("beach.jpg", b"sand")
    site.lose_all()
    ran = site.run("restore", str(path))
    assert ran.code == 7
    assert "holiday.zip is no backup of Kimai" in ran.errors[0]
