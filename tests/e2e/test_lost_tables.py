"""One table lost, or several: they come back whole into a Kimai that is in use, and nothing else is touched."""

import json
import zipfile
from typing import Any

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Site
from tests.support.keys import age_key


def drop(site: Site, *tables: str) -> None:
    """As an accident does it: what refers to them stays."""
    site.sql("SET foreign_key_checks=0", *(f"DROP TABLE `{name}`" for name in tables))


def definitions(site: Site) -> dict[str, str]:
    """Each table as the server prints it."""
    names = [name for (name,) in site.sql("SHOW TABLES")]
    return {name: site.sql(f"SHOW CREATE TABLE `{name}`")[0][1] for name in names}


def everything(site: Site) -> tuple[Any, Any, Any]:
    return site.rows(), definitions(site), site.files()


def test_a_table_comes_back_row_for_row_and_nothing_else_is_touched(site: Site) -> None:
    made = site.backup()
    site.sql(
        "INSERT INTO kimai2_customers (name, visible, country, currency, timezone) "
        "VALUES ('new', 1, 'DE', 'EUR', 'UTC')"
    )
    (site.root / "var/data/new.pdf").write_bytes(b"since the backup")
    before = everything(site)
    drop(site, "kimai2_tags")
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 0, ran.said
    assert f"kimai2_tags of {made} is restored" in ran.out
    assert everything(site) == before
    assert site.traces() == []
    assert site.backup()


def test_several_tables_with_a_circle_of_foreign_keys_come_back(site: Site) -> None:
    site.backup()
    before = everything(site)
    drop(site, "kimai2_customers", "kimai2_invoice_templates", "kimai2_users")
    ran = site.run(
        "restore", "latest", "--tables", "kimai2_customers, kimai2_users", "--tables", "kimai2_invoice_templates"
    )
    assert ran.code == 0, ran.said
    assert everything(site) == before


def test_foreign_keys_hold_again_in_both_directions(site: Site) -> None:
    site.backup()
    drop(site, "kimai2_timesheet")
    assert site.run("restore", "latest", "--tables", "kimai2_timesheet").code == 0
    for statement in (
        "UPDATE kimai2_timesheet SET user = 4711 LIMIT 1",
        "INSERT INTO kimai2_timesheet_tags VALUES (999999, 1)",
    ):
        with pytest.raises(Exception, match="foreign key constraint fails"):
            site.sql(statement)
    site.sql("DELETE FROM kimai2_timesheet WHERE id = 10")
    assert site.sql("SELECT COUNT(*) FROM kimai2_timesheet_tags WHERE timesheet_id = 10") == [(0,)]


def test_a_table_that_other_keys_than_the_primary_refer_to_comes_back(site: Site) -> None:
    site.sql(
        "CREATE TABLE codes (id INT PRIMARY KEY, code VARCHAR(20) NOT NULL, UNIQUE KEY by_code (code))",
        "CREATE TABLE uses (id INT PRIMARY KEY, code VARCHAR(20), "
        "CONSTRAINT uses_code FOREIGN KEY (code) REFERENCES codes (code))",
        "INSERT INTO codes VALUES (1, 'one'), (2, 'two')",
        "INSERT INTO uses VALUES (1, 'two')",
    )
    site.backup()
    before = everything(site)
    drop(site, "codes")
    ran = site.run("restore", "latest", "--tables", "codes")
    assert ran.code == 0, ran.said
    assert everything(site) == before
    with pytest.raises(Exception, match="foreign key constraint fails"):
        site.sql("INSERT INTO uses VALUES (2, 'three')")


def test_triggers_come_back_with_their_table_and_none_fires_on_the_way(site: Site) -> None:
    site.sql("CREATE TABLE seen (tag INT)")
    site.sql("CREATE TRIGGER tag_seen AFTER INSERT ON kimai2_tags FOR EACH ROW INSERT INTO seen VALUES (NEW.id)")
    site.sql("CREATE TRIGGER other AFTER DELETE ON `kimai2_invoices` FOR EACH ROW SET @x = 'ON `kimai2_tags` FOR'")
    site.backup()
    before = everything(site)
    triggers = site.sql("SHOW TRIGGERS")
    drop(site, "kimai2_tags")
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 0, ran.said
    assert everything(site) == before
    assert [row[:5] for row in site.sql("SHOW TRIGGERS")] == [row[:5] for row in triggers]


def test_an_encrypted_backup_gives_its_tables_and_files_as_well(site: Site) -> None:
    (site.folder / "elsewhere").mkdir()
    key = age_key(site.folder / "elsewhere")
    site.backup(BACKUP_ENCRYPT_TO=key.recipient)
    rows, invoice = site.rows(), site.root / "var/data/invoices/2026-1.pdf"
    content = invoice.read_bytes()
    drop(site, "kimai2_tags")
    invoice.unlink()
    lost = ("--tables", "kimai2_tags", "--files", "var/data/invoices")
    assert site.run("restore", "latest", *lost).code == 4
    ran = site.run("restore", "latest", *lost, BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 0, ran.said
    assert (site.rows(), invoice.read_bytes()) == (rows, content)


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_table_that_is_there_is_refused_and_the_told_way_leads_there(site: Site) -> None:
    site.backup()
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('new')")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_tags,kimai2_timesheet_tags")
    assert ran.code == 8
    assert "kimai2_tags is there and has rows" in ran.errors[0]
    assert "so are kimai2_timesheet_tags" in ran.errors[0]
    assert everything(site) == before
    way = ran.errors[0].rpartition("drop it: ")[2]
    site.sql(*(statement for statement in way.split(";") if statement.strip()))
    assert site.run("restore", "latest", "--tables", "kimai2_tags").code == 0
    assert site.sql("SELECT COUNT(*) FROM kimai2_tags_old WHERE name = 'new'") == [(1,)]


def test_a_table_without_rows_is_not_dropped_unasked(site: Site) -> None:
    site.backup()
    site.sql("SET foreign_key_checks=0", "DELETE FROM kimai2_tags")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 8
    assert "table kimai2_tags is there, and nothing is put in its place" in ran.errors[0]
    assert everything(site) == before
    site.sql(*ran.errors[0].rpartition("Drop it: ")[2].rstrip(";").split(";"))
    assert site.run("restore", "latest", "--tables", "kimai2_tags").code == 0


def test_a_view_in_a_tables_place_is_not_dropped(site: Site) -> None:
    site.backup()
    drop(site, "kimai2_tags")
    site.sql("CREATE VIEW kimai2_tags AS SELECT 1 AS id")
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 8
    assert "view kimai2_tags is there" in ran.errors[0]
    assert site.sql("SELECT id FROM kimai2_tags") == [(1,)]


@pytest.mark.parametrize(
    ("name", "near"),
    [("kimai2_tag", "kimai2_tags"), ("tags", "kimai2_tags"), ("kimai2_tags' OR 1=1 --", ""), ("`", ""), ("%", "")],
)
def test_an_unknown_name_is_wrong_usage_and_what_is_near_is_told(site: Site, name: str, near: str) -> None:
    site.backup()
    drop(site, "kimai2_tags")
    before = everything(site)
    ran = site.run("restore", "latest", f"--tables={name}")
    assert ran.code == 2, ran.said
    assert "the backup has no table" in ran.err
    assert near in ran.err
    assert everything(site) == before


def test_a_table_refers_to_one_that_is_lost_as_well(site: Site) -> None:
    site.backup()
    before = everything(site)
    drop(site, "kimai2_tags", "kimai2_timesheet_tags")
    ran = site.run("restore", "latest", "--tables", "kimai2_timesheet_tags")
    assert ran.code == 8
    assert "--tables kimai2_timesheet_tags,kimai2_tags" in ran.errors[0]
    assert site.run("restore", "latest", "--tables", "kimai2_timesheet_tags,kimai2_tags").code == 0
    assert everything(site) == before


def test_rows_of_others_that_refer_to_what_the_table_lacks_are_told_and_all_is_taken_back(site: Site) -> None:
    site.backup()
    site.sql("INSERT INTO kimai2_tags (id, name) VALUES (77, 'since the backup')")
    site.sql("INSERT INTO kimai2_timesheet_tags VALUES (1, 77), (3, 77)")
    drop(site, "kimai2_tags")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 8
    assert "2 rows of kimai2_timesheet_tags (tag_id) to kimai2_tags (id)" in ran.errors[0]
    assert "(timesheet_id 1, tag_id 77), (timesheet_id 3, tag_id 77)" in ran.errors[0]
    assert everything(site) == before
    assert site.traces() == []
    site.sql("DELETE FROM kimai2_timesheet_tags WHERE tag_id = 77")
    assert site.run("restore", "latest", "--tables", "kimai2_tags").code == 0


def test_rows_of_the_table_that_refer_to_what_was_deleted_since_are_told(site: Site) -> None:
    site.backup()
    site.sql("DELETE FROM kimai2_timesheet WHERE id = 20")
    drop(site, "kimai2_timesheet_tags")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_timesheet_tags")
    assert ran.code == 8
    assert "1 row of kimai2_timesheet_tags (timesheet_id) to kimai2_timesheet (id)" in ran.errors[0]
    assert "timesheet_id 20" in ran.errors[0]
    assert everything(site) == before


def test_a_table_that_was_renamed_is_told_by_its_foreign_keys(site: Site) -> None:
    site.backup()
    site.sql("RENAME TABLE kimai2_tags TO kimai2_tags_old")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 8
    assert "leads to kimai2_tags_old now" in ran.errors[0]
    assert everything(site) == before


def test_a_table_of_another_migration_than_the_database_is_refused(site: Site) -> None:
    site.backup()
    site.sql("UPDATE migration_versions SET version = 'DoctrineMigrations\\\\Version20990101000000'")
    drop(site, "kimai2_tags")
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 8
    assert "Version20990101000000" in ran.errors[0]


def test_the_mark_of_another_restore_is_left_alone_and_one_that_nobody_signed_is_none(site: Site) -> None:
    site.backup()
    drop(site, "kimai2_tags")
    site.sql("CREATE TABLE kimai_backup_restore (run_id VARCHAR(64) PRIMARY KEY)")
    site.sql("INSERT INTO kimai_backup_restore VALUES ('another')")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 8, ran.said
    assert "drop the table kimai_backup_restore" in ran.errors[0]
    assert everything(site) == before
    site.sql("DELETE FROM kimai_backup_restore")
    assert site.run("restore", "latest", "--tables", "kimai2_tags").code == 0
    assert "kimai_backup_restore" not in site.rows()


def test_zips_of_others_give_no_single_table(site: Site) -> None:
    made = site.backup()
    with zipfile.ZipFile(site.backups / f"{made}.zip") as ours:
        sql = ours.read("database.sql")
    other = site.folder / "2026-11-22_01-10.zip"
    with zipfile.ZipFile(other, "w") as theirs:
        theirs.writestr("kimai2-2026-11-22_01-10.sql", sql)
    drop(site, "kimai2_tags")
    ran = site.run("restore", str(other), "--tables", "kimai2_tags", "--accept-unknown-version")
    assert ran.code == 8
    assert "no backup of kimai-backup" in ran.errors[0]


@pytest.mark.parametrize("options", [("--only", "files"), ("--only", "database"), ("--upgrade",), ("--replace",)])
def test_options_that_mean_something_else_are_wrong_usage(site: Site, options: tuple[str, ...]) -> None:
    assert site.run("restore", "latest", "--tables", "kimai2_tags", *options).code == 2


# ── What is told ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_says_what_would_happen_and_changes_nothing(site: Site) -> None:
    site.backup()
    drop(site, "kimai2_tags")
    before = everything(site)
    ran = site.run("restore", "latest", "--tables", "kimai2_tags", "--dry-run")
    assert ran.code == 0, ran.said
    assert "would bring back kimai2_tags (5 rows)" in ran.out
    assert everything(site) == before
    assert not list(site.state.glob("*.restores/*.json"))


def test_the_report_tells_what_was_asked_and_done(site: Site) -> None:
    site.backup()
    drop(site, "kimai2_tags")
    assert site.run("restore", "latest", "--tables", "kimai2_tags").code == 0
    (path,) = site.state.glob("*.restores/*.json")
    report = json.loads(path.read_bytes())
    assert report["outcome"] == "restored"
    assert report["asked"] == {"reference": "latest", "tables": ["kimai2_tags"]}
    assert "kimai2_tags is back and equal: 5 rows, and every foreign key holds" in report["done"]


def test_a_kimai_that_does_not_come_up_loses_the_table_again(site: Site) -> None:
    site.backup()
    drop(site, "kimai2_tags")
    before = everything(site)
    set_fault(site.root, "fail kimai:user:list")
    ran = site.run("restore", "latest", "--tables", "kimai2_tags")
    assert ran.code == 5, ran.said
    set_fault(site.root, None)
    assert everything(site) == before
    assert site.traces() == []
