"""A database account that may not see everything: what it lacks is named, and the exit code is 3."""

from pathlib import Path

from tests.support.cli import Site, make_site
from tests.support.servers import Server, running


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


def test_a_server_that_would_refuse_a_trigger_is_found_out_before_anything_is_loaded(tmp_path: Path) -> None:
    """One that writes a binary log, as MySQL does by default, asks for SUPER, unless it trusts all (error 1419)."""
    with running("--log-bin=log") as server:
        site = make_site(tmp_path, server, timesheets=10)
        own = f"CREATE DEFINER='{site.user}'@'%'"
        site.sql(f"{own} TRIGGER counted BEFORE INSERT ON kimai2_tags FOR EACH ROW SET NEW.id = NEW.id")
        backup = site.backup()
        site.remember()
        site.sql("SET foreign_key_checks = 0", "DROP TABLE kimai2_tags")
        for arguments in (("--replace",), ("--tables", "kimai2_tags")):
            ran = site.run("restore", backup, *arguments)
            assert ran.code == 8, ran.said
            assert "no trigger or function, and there is trigger counted" in ran.errors[0]
        site.lose_database()
        assert site.run("restore", backup).code == 8
        assert site.objects() == []
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        ran = site.run("restore", backup)
        assert ran.code == 0, ran.said
        site.assert_restored()
