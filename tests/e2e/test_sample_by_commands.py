"""A real instance's dump and files, where KIMAI_SAMPLE_SQL and KIMAI_SAMPLE_FILES name them, go round as well."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin.install import install_console
from tests.support.cli import Site, make_site
from tests.support.servers import Server

SQL = os.environ.get("KIMAI_SAMPLE_SQL", "")
FILES = os.environ.get("KIMAI_SAMPLE_FILES", "")
OLDER = Path(SQL).with_name("kimai-2.24-empty.sql") if SQL else None


def load(site: Site, dump: Path) -> None:
    """By the native client, as its admin would."""
    site.lose_database()
    site.server.native_load(site.database, dump.read_bytes())


if SQL and FILES:

    @pytest.fixture
    def real(tmp_path: Path, server: Server) -> Iterator[Site]:
        """The sample in place of what a test's Kimai holds; `.env` names the test's own database."""
        site = make_site(tmp_path, server, timesheets=0)
        shutil.rmtree(site.root)
        shutil.copytree(FILES, site.root, symlinks=True)
        for path in (site.root, *site.root.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        (site.root / "dot-env").rename(site.root / ".env")
        (site.root / "var/plugins").mkdir(exist_ok=True)
        install_console(site.root)
        site.extra["DATABASE_URL"] = site.url
        site.point_env_at(site.url)
        load(site, Path(SQL))
        yield site
        site.end()

    def test_the_sample_goes_round(real: Site) -> None:
        real.remember()
        dumped = real.server.native_dump(real.database)
        ran = real.run("doctor")
        assert ran.code == 0, ran.said
        real.backup()
        real.lose_all()
        ran = real.run("restore", "latest")
        assert ran.code == 0, ran.said
        assert "37 tables" in ran.err
        real.assert_restored()
        assert real.server.native_dump(real.database) == dumped

    if OLDER and OLDER.exists():

        def test_a_backup_of_an_older_kimai_is_refused_by_its_tag(real: Site) -> None:
            load(real, OLDER)
            install_console(real.root, version="2.24.0", newest_migration="Version20241010000000")
            real.remember()
            made = real.backup()
            assert "_2.24.0_" in made
            install_console(real.root)
            real.lose_all()
            before = real.files()
            ran = real.run("restore", "latest")
            assert ran.code == 8
            assert "the backup is of Kimai 2.24.0, Kimai 2.66.0 is installed" in ran.errors[0]
            assert "git tag 2.24.0" in ran.errors[0]
            assert (real.objects(), real.files()) == ([], before)

        def test_a_backup_of_an_older_kimai_is_upgraded_where_that_is_said(real: Site) -> None:
            """The stand-in migrates by one table that 2.66 has and 2.24 has not."""
            load(real, OLDER)
            install_console(real.root, version="2.24.0", newest_migration="Version20241010000000")
            real.backup()
            new = "CREATE TABLE kimai2_email_templates_266 (id INT PRIMARY KEY)"
            install_console(real.root, sql=[new])
            real.lose_all()
            ran = real.run("restore", "latest", "--accept-version-mismatch")
            assert ran.code == 8, ran.said
            assert real.objects() == []
            ran = real.run("restore", "latest", "--upgrade")
            assert ran.code == 0, ran.said
            assert "kimai2_email_templates_266" in real.objects()

        def test_a_backup_of_a_newer_kimai_never_goes_into_an_older_one(real: Site) -> None:
            real.backup()
            install_console(real.root, version="2.24.0", newest_migration="Version20241010000000")
            real.lose_all()
            before = real.files()
            for option in ("--upgrade", "--accept-version-mismatch"):
                ran = real.run("restore", "latest", option)
                assert ran.code == 8, ran.said
                assert "newer than Kimai's code" in ran.errors[0]
                assert "image tag apache-2.66.0" in ran.errors[0]
            assert (real.objects(), real.files(), real.traces()) == ([], before, [])

        def test_an_older_database_under_the_new_code_is_taken_back(real: Site) -> None:
            """Someone restored the old database by hand, and backed it up before it was migrated."""
            shutil.rmtree(real.root / "migrations")
            load(real, OLDER)
            real.backup()
            real.lose_all()
            before = real.files()
            ran = real.run("restore", "latest")
            assert ran.code == 8, ran.said
            assert "older database" in ran.errors[0]
            assert (real.objects(), real.files(), real.traces()) == ([], before, [])

        def test_a_newer_database_under_the_old_code_is_taken_back(real: Site) -> None:
            """Kimai itself exits with 0 here, and only prints an error."""
            install_console(real.root, newest_migration="Version20241010000000")
            shutil.rmtree(real.root / "migrations")
            real.backup()
            real.lose_all()
            before = real.files()
            ran = real.run("restore", "latest")
            assert ran.code == 8, ran.said
            assert "newer database" in ran.errors[0]
            assert (real.objects(), real.files(), real.traces()) == ([], before, [])
