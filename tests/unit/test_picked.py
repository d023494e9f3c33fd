"""Some tables out of a dump: which statements are theirs, and under which names they are sent."""

import pytest

from sidecar.database.keys import bare
from sidecar.database.picked import Picked, trigger_table
from sidecar.database.statements import Kind
from sidecar.errors import Refused

TABLES = ["a`b", "kimai2_tags", "kimai2_users"]
PICKED = Picked({"own_0": "kimai2_tags", "own_1": "a`b"}, TABLES)

CREATE = b"""CREATE TABLE `kimai2_tags` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `name` varchar(100) DEFAULT '`kimai2_tags`',
  `above` int(11) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `above` (`above`),
  CONSTRAINT `fk` FOREIGN KEY (`above`) REFERENCES `kimai2_tags` (`id`)
) ENGINE=InnoDB"""


@pytest.mark.parametrize(
    ("kind", "statement", "kept"),
    [
        (Kind.SET, b"SET time_zone='+00:00'", True),
        (Kind.CREATE_TABLE, CREATE, True),
        (Kind.CREATE_TABLE, b"CREATE TABLE `kimai2_users` (\n  `kimai2_tags` int\n)", False),
        (Kind.DROP, b"DROP TABLE IF EXISTS `kimai2_tags`", False),
        (Kind.CREATE_VIEW, b"CREATE VIEW `v` AS SELECT * FROM `kimai2_tags`", False),
        (Kind.CREATE_TRIGGER, b"CREATE TRIGGER t BEFORE INSERT ON kimai2_tags FOR EACH ROW SET @a=1", True),
        (Kind.CREATE_TRIGGER, b"CREATE TRIGGER t BEFORE INSERT ON kimai2_users FOR EACH ROW SET @a=1", False),
        (Kind.CREATE_EVENT, b"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM kimai2_tags", False),
        (Kind.ALTER_TABLE, b"ALTER TABLE `kimai2_tags` ADD KEY (`id`)", False),
    ],
)
def test_what_belongs_to_a_table_is_kept_and_nothing_else(kind: Kind, statement: bytes, kept: bool) -> None:
    assert PICKED.keeps(kind, statement) is kept


@pytest.mark.parametrize(
    ("statement", "passed"),
    [
        (b"INSERT INTO `kimai2_users` (`id`) VALUES\n(1)", True),
        (b"INSERT INTO `kimai2_tags` (`id`) VALUES\n(1)", False),
        (b"INSERT INTO `a``b` (`id`) VALUES\n(1)", False),
        (b"INSERT INTO `kimai2_users` (`id`) VALUES\n('INSERT INTO `kimai2_tags` VALUES (1)')", True),
        (CREATE, False),
    ],
)
def test_rows_of_other_tables_are_passed_over(statement: bytes, passed: bool) -> None:
    assert PICKED.passes_over(statement) is passed


def test_rows_go_to_the_tables_own_name_and_are_not_changed() -> None:
    rows = b" (`id`, `name`) VALUES\n(1,'INTO `kimai2_tags`'),\n(2,'`a``b`')"
    assert PICKED.insert(b"INSERT INTO `kimai2_tags`" + rows) == b"INSERT INTO `own_0`" + rows
    assert PICKED.insert(b"INSERT INTO `a``b`" + rows) == b"INSERT INTO `own_1`" + rows


def test_an_insert_that_is_not_ours_is_refused() -> None:
    with pytest.raises(Refused):
        PICKED.insert(b"INSERT /* c */ INTO `kimai2_tags` VALUES (1)")


def test_a_table_is_made_under_its_own_name_with_its_keys_to_come() -> None:
    table = PICKED.create(CREATE, bare(CREATE))
    assert table.name == b"`own_0`"
    assert table.create.startswith(b"CREATE TABLE `own_0` (\n")
    assert b"DEFAULT '`kimai2_tags`'" in table.create
    assert b"REFERENCES" not in table.create
    assert table.foreign_keys == (b"CONSTRAINT `fk` FOREIGN KEY (`above`) REFERENCES `kimai2_tags` (`id`)",)
    assert PICKED.real(table.name) == b"`kimai2_tags`"


def test_a_table_whose_keys_can_not_be_told_apart_is_refused() -> None:
    strange = b"CREATE TABLE `kimai2_tags` (id INT, FOREIGN KEY (id) REFERENCES kimai2_users (id))"
    with pytest.raises(Refused, match="kimai2_tags"):
        PICKED.create(strange, bare(strange))


def test_all_get_their_names_in_one_statement() -> None:
    assert PICKED.renames == b"RENAME TABLE `own_0` TO `kimai2_tags`, `own_1` TO `a``b`"


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        (b"CREATE TRIGGER `t` AFTER INSERT ON `kimai2_tags` FOR EACH ROW SET @a=1", "kimai2_tags"),
        (b"CREATE DEFINER=`on`@`%` TRIGGER `on` AFTER UPDATE ON kimai2_tags FOR EACH ROW SET @a=1", "kimai2_tags"),
        (b"CREATE /* ON kimai2_users */ TRIGGER db.t BEFORE DELETE ON db.`a``b` FOR EACH ROW SET @a=1", "a`b"),
        (b"CREATE TRIGGER t AFTER INSERT ON KIMAI2_TAGS FOR EACH ROW SET @a='x ON kimai2_users'", "kimai2_tags"),
        (b"CREATE TRIGGER t AFTER INSERT ON elsewhere FOR EACH ROW SET @a=1", None),
        (b"CREATE TRIGGER t AFTER INSERT", None),
        (b"CREATE TRIGGER t AFTER INSERT ON", None),
        (b"CREATE VIEW v AS SELECT 1", None),
    ],
)
def test_a_triggers_table_is_told_however_it_is_spelt(statement: bytes, table: str | None) -> None:
    assert trigger_table(statement, TABLES) == table
