"""One file lost, or a folder: it comes back as it was, and nothing that is there is touched."""

import os
import shutil
from typing import Any

import pytest

from tests.support.cli import Site

INVOICES = "var/data/invoices"
ODD = f"{INVOICES}/2026-100 Müller & Söhne «Entwurf» 🧾.pdf"


def without_time(files: dict[str, Any], *folders: str) -> dict[str, Any]:
    """Folders in which something was put have another time."""
    return {name: values[:4] if name in folders else values for name, values in files.items()}


@pytest.mark.parametrize("path", [f"{INVOICES}/2026-1.pdf", ODD, "var/data/newest.pdf", "var/data/.appsecret"])
def test_a_file_comes_back_as_it_was(site: Site, path: str) -> None:
    site.backup()
    (site.root / "var/data/new.pdf").write_bytes(b"since the backup")
    before, rows = site.files(), site.rows()
    (site.root / path).unlink()
    ran = site.run("restore", "latest", "--files", path)
    assert ran.code == 0, ran.said
    folder = path.rpartition("/")[0]
    assert without_time(site.files(), folder) == without_time(before, folder)
    assert site.rows() == rows
    assert site.traces() == []


def test_a_folder_comes_back_with_its_mode_and_all_that_was_in_it(site: Site) -> None:
    site.backup()
    before = site.files()
    shutil.rmtree(site.root / "var/plugins/DemoBundle")
    ran = site.run("restore", "latest", "--files", "var/plugins/DemoBundle/", "--files", f"./{INVOICES}")
    assert ran.code == 0, ran.said
    assert "comes back without its database" in ran.said
    assert without_time(site.files(), "var/plugins") == without_time(before, "var/plugins")


def test_a_file_brings_the_folders_on_the_way_along(site: Site) -> None:
    site.backup()
    path = "var/plugins/DemoBundle/Resources/config/services.yaml"
    before = site.files()
    shutil.rmtree(site.root / "var/plugins/DemoBundle")
    assert site.run("restore", "latest", "--files", str(site.root / path)).code == 0
    after = site.files()
    assert not (site.root / "var/plugins/DemoBundle/DemoBundle.php").exists()
    for name in (path, "var/plugins/DemoBundle", "var/plugins/DemoBundle/Resources"):
        assert after[name] == before[name]


def test_a_link_that_leads_out_of_kimai_is_named_and_not_said_to_be_back(site: Site) -> None:
    (site.root / INVOICES / "outside").symlink_to("/etc/hostname")
    site.backup()
    (site.root / INVOICES / "outside").unlink()
    (site.root / INVOICES / "2026-1.pdf").unlink()
    ran = site.run("restore", "latest", "--files", INVOICES)
    assert ran.code == 0, ran.said
    assert f"link {INVOICES}/outside leads outside of Kimai and is not restored" in ran.out
    assert "1 lost files are back" in ran.said
    assert not os.path.lexists(site.root / INVOICES / "outside")
    ran = site.run("restore", "latest", "--files", INVOICES)
    assert "was to be brought back" in ran.out


def test_what_is_in_a_folder_and_not_in_the_backup_stays(site: Site) -> None:
    site.backup()
    (site.root / INVOICES / "2026-999.pdf").write_bytes(b"since the backup")
    for number in range(1, 26):
        (site.root / INVOICES / f"2026-{number}.pdf").unlink()
    left = (site.root / ODD).stat()
    ran = site.run("restore", "latest", "--files", INVOICES)
    assert ran.code == 0, ran.said
    assert (site.root / INVOICES / "2026-999.pdf").read_bytes() == b"since the backup"
    assert len(list((site.root / INVOICES).iterdir())) == 27
    assert (site.root / ODD).stat().st_ino == left.st_ino


def test_a_file_that_is_there_and_differs_is_refused(site: Site) -> None:
    site.backup()
    (site.root / INVOICES / "2026-1.pdf").write_bytes(b"changed since")
    (site.root / INVOICES / "2026-2.pdf").unlink()
    before = site.files()
    ran = site.run("restore", "latest", "--files", INVOICES)
    assert ran.code == 8
    assert f"{INVOICES}/2026-1.pdf in Kimai's folder is there and differs" in ran.errors[0]
    assert site.files() == before
    (site.root / INVOICES / "2026-1.pdf").rename(site.root / INVOICES / "2026-1.mine")
    assert site.run("restore", "latest", "--files", INVOICES).code == 0


def test_what_is_all_there_is_left_alone(site: Site) -> None:
    made = site.backup()
    before = site.files()
    ran = site.run("restore", "latest", "--files", "var/data")
    assert ran.code == 0, ran.said
    assert f"nothing of {made} was to be brought back" in ran.out
    assert site.files() == before


def test_nothing_is_written_through_a_link(site: Site) -> None:
    site.backup()
    elsewhere = site.folder / "elsewhere"
    (site.root / INVOICES).rename(elsewhere)
    (elsewhere / "2026-1.pdf").unlink()
    (site.root / INVOICES).symlink_to(elsewhere)
    ran = site.run("restore", "latest", "--files", f"{INVOICES}/2026-1.pdf")
    assert ran.code == 8, ran.said
    assert not (elsewhere / "2026-1.pdf").exists()


@pytest.mark.parametrize("name", [b"%FF b.pdf", b"\xff b.pdf"])
def test_a_name_that_is_no_utf8_may_be_given_as_it_is_or_as_the_manifest_spells_it(site: Site, name: bytes) -> None:
    path = site.root / os.fsdecode(b"var/data/\xff b.pdf")
    path.write_bytes(b"odd")
    site.backup()
    path.unlink()
    ran = site.run("restore", "latest", "--files", os.fsdecode(b"var/data/" + name))
    assert ran.code == 0, ran.said
    assert path.read_bytes() == b"odd"


@pytest.mark.parametrize(
    ("path", "near"),
    [
        (f"{INVOICES}/2026-1.pfd", f"{INVOICES}/2026-1.pdf"),
        ("2026-1.pdf", f"{INVOICES}/2026-1.pdf"),
        ("var/data/../../../etc/passwd", ""),
        ("/etc/passwd", ""),
        (".", ""),
        ("", ""),
        ("\udcff", ""),
        ("container.env", ""),
        ("database.sql", ""),
    ],
)
def test_an_unknown_path_is_wrong_usage_and_what_is_near_is_told(site: Site, path: str, near: str) -> None:
    site.backup()
    before = site.files()
    ran = site.run("restore", "latest", f"--files={path}")
    assert ran.code == 2, ran.said
    assert "the backup has no file or folder" in ran.err
    assert near in ran.err
    assert site.files() == before


def test_an_env_of_another_database_is_laid_beside_the_one_in_force(site: Site) -> None:
    site.backup()
    content = (site.root / ".env").read_bytes()
    site.point_env_at(f"{site.url}&since=then")
    in_force = (site.root / ".env").read_bytes()
    ran = site.run("restore", "latest", "--files", ".env")
    assert ran.code == 0, ran.said
    assert (site.root / ".env").read_bytes() == in_force
    assert (site.root / ".env.from-backup").read_bytes() == content


def test_a_table_and_a_file_come_back_together(site: Site) -> None:
    site.backup()
    before, rows = site.files(), site.rows()
    (site.root / INVOICES / "2026-1.pdf").unlink()
    site.sql("SET foreign_key_checks=0", "DROP TABLE kimai2_invoices")
    ran = site.run("restore", "latest", "--tables", "kimai2_invoices", "--files", f"{INVOICES}/2026-1.pdf")
    assert ran.code == 0, ran.said
    assert without_time(site.files(), INVOICES) == without_time(before, INVOICES)
    assert site.rows() == rows


def test_a_dry_run_names_the_files(site: Site) -> None:
    site.backup()
    (site.root / INVOICES / "2026-1.pdf").unlink()
    before = site.files()
    ran = site.run("restore", "latest", "--files", INVOICES, "--dry-run")
    assert ran.code == 0
    assert f"would put 1 files in place: {INVOICES}/2026-1.pdf" in ran.out
    assert site.files() == before
