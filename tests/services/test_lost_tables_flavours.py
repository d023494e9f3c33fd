"""Tables that were lost come back on each flavour of server: rows, definitions, and the foreign keys of others."""

from collections.abc import Iterator

import pytest

from tests.support.cli import Site

TABLES = (
    "CREATE TABLE codes (id INT PRIMARY KEY, code VARCHAR(60) NOT NULL, half INT AS (id DIV 2) STORED, "
    "UNIQUE KEY by_code (code), CONSTRAINT positive CHECK (id > 0)) COMMENT 'odd ` \\' name'",
    "CREATE TABLE `a,b ``c` (id INT PRIMARY KEY AUTO_INCREMENT, code VARCHAR(60), above INT, f FLOAT, b BLOB, "
    "t TEXT CHARACTER SET latin1, CONSTRAINT uses_code FOREIGN KEY (code) REFERENCES codes (code) ON UPDATE CASCADE, "
    "CONSTRAINT uses_above FOREIGN KEY (above) REFERENCES `a,b ``c` (id))",
    "INSERT INTO codes (id, code) VALUES (1, 'one'), (2, 'INSERT INTO `kimai2_tags` VALUES (1);')",
    "INSERT INTO `a,b ``c` VALUES (1, 'one', 2, 16777216, X'00FF0D0A', 'ümlaut'), (2, NULL, NULL, NULL, '', '')",
    "CREATE TABLE told (id INT)",
    "CREATE TRIGGER `tell;` AFTER INSERT ON codes FOR EACH ROW BEGIN INSERT INTO told VALUES (NEW.id); END",
)


def definitions(site: Site) -> dict[str, str]:
    """Each table as the server prints it, but for what MySQL writes out once a table has been loaded."""
    names = [name.replace("`", "``") for (name,) in site.sql("SHOW TABLES")]
    texts = {name: site.sql(f"SHOW CREATE TABLE `{name}`")[0][1] for name in names}
    return {name: text.replace(" CHARACTER SET utf8mb4", "") for name, text in texts.items()}


@pytest.fixture
def odd(site: Site) -> Iterator[Site]:
    # MySQL writes a binary log, and lets nobody but an administrator make triggers then.
    site.sql("SET GLOBAL log_bin_trust_function_creators=1")
    site.sql("SET foreign_key_checks=0", *TABLES)
    site.backup()
    yield site
    site.sql("SET GLOBAL log_bin_trust_function_creators=0")


def checksums(site: Site) -> list[object]:
    names = ", ".join(f"`{name.replace('`', '``')}`" for (name,) in site.sql("SHOW TABLES"))
    return site.sql(f"CHECKSUM TABLE {names} EXTENDED")


@pytest.mark.parametrize("lost", [["codes"], ["a,b `c"], ["a,b `c", "codes"], ["kimai2_timesheet"], ["kimai2_users"]])
def test_lost_tables_come_back_equal(odd: Site, lost: list[str]) -> None:
    before, sums = definitions(odd), checksums(odd)
    odd.sql("SET foreign_key_checks=0", *(f"DROP TABLE `{name.replace('`', '``')}`" for name in lost))
    ran = odd.run("restore", "latest", *(f"--tables={name}" for name in lost))
    assert ran.code == 0, ran.said
    assert checksums(odd) == sums
    assert definitions(odd) == before
    assert odd.traces() == []
    assert [row[0] for row in odd.sql("SHOW TRIGGERS")] == ["tell;"]


def test_foreign_keys_of_other_tables_hold_again(odd: Site) -> None:
    odd.sql("SET foreign_key_checks=0", "DROP TABLE codes")
    assert odd.run("restore", "latest", "--tables", "codes").code == 0
    with pytest.raises(Exception, match="foreign key constraint fails"):
        odd.sql("UPDATE `a,b ``c` SET code = 'three' WHERE id = 1")
    odd.sql("UPDATE codes SET code = 'uno' WHERE id = 1")
    assert odd.sql("SELECT code FROM `a,b ``c` WHERE id = 1") == [("uno",)]


def test_rows_that_would_refer_to_nothing_are_told_and_all_is_taken_back(odd: Site) -> None:
    odd.sql("UPDATE codes SET code = 'uno' WHERE id = 1")
    odd.sql("SET foreign_key_checks=0", "DROP TABLE codes")
    before, sums = definitions(odd), checksums(odd)
    ran = odd.run("restore", "latest", "--tables", "codes")
    assert ran.code == 8
    assert "1 row of a,b `c (code) to codes (code), such as (id 1, code uno)" in ran.errors[0]
    assert checksums(odd) == sums
    assert definitions(odd) == before
    assert odd.traces() == []
