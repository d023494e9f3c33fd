"""A database account that may not see everything: what it lacks is named, and the exit code is 3."""

from pathlib import Path

from tests.support.cli import Site, make_site
from tests.support.servers import Server


def all_but(site: Site, hidden: str) -> None:
    """Grant the account everything on each table but one, and nothing on the database as a whole."""
    tables = [row[0] for row in site.sql("SHOW TABLES")]
    site.server.run(
        f"REVOKE ALL PRIVILEGES ON `{site.database}`.* FROM '{site.user}'@'%'",
        *[f"GRANT ALL ON `{site.database}`.`{name}` TO '{site.user}'@'%'" for name in tables if name != hidden],
    )


def test_a_table_without_select_is_a_backup_in_part(tmp_path: Path, server: Server) -> None:
    site = make_site(tmp_path, server, timesheets=10)
    try:
        whole = site.backup()
        all_but(site, "kimai2_tags")
        ran = site.run("backup")
        assert ran.code == 3, ran.said
        assert "unreadable in the database: tables that the user may not see" in ran.said
        assert "nothing is pruned: this backup lacks what the one before it had" in ran.said
        (made,) = set(site.ids()) - {whole}
        manifest = site.run("show", made, "--json").json()
        assert "kimai2_tags" not in {table["name"] for table in manifest["database"]["tables"]}
        assert manifest["database"]["unreadable"]
    finally:
        site.end()


def test_a_table_that_may_be_written_and_not_read_is_named(tmp_path: Path, server: Server) -> None:
    """It shows among the tables, as the account has a right on it."""
    site = make_site(tmp_path, server, timesheets=10)
    try:
        all_but(site, "kimai2_tags")
        server.run(f"GRANT INSERT ON `{site.database}`.kimai2_tags TO '{site.user}'@'%'")
        ran = site.run("backup")
        assert ran.code == 3, ran.said
        assert "unreadable in the database: table kimai2_tags" in ran.said
    finally:
        site.end()
