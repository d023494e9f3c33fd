"""What may pass to the database: all that dump tools write, and nothing else however it is spelled."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.database import statements
from sidecar.database.split import split
from sidecar.database.statements import Kind, admit
from sidecar.errors import Refused
from tests.support.examples import examples

PASSES = {
    Kind.SET: [
        b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */",
        b"/*!50503 SET NAMES utf8mb4 */",
        b"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'",
        b"/*!40103 SET TIME_ZONE='+00:00' */",
        b'SET time_zone = "+00:00"',
        b'SET SQL_MODE = "NO_AUTO_VALUE_ON_ZERO"',
        b"/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */",
        b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
        b"/*!50003 SET sql_mode              = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES' */",
        b"/*!50003 SET sql_mode = '' */",
        b"/*!40101 SET SQL_MODE=@OLD_SQL_MODE */",
        b"/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */",
        b"SET @OLD_AUTOCOMMIT=@@AUTOCOMMIT, @@AUTOCOMMIT=0",
        b"/*!80000 SET SESSION information_schema_stats_expiry=0 */",
        b"SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN",
        b"SET @@session.system_versioning_insert_history=1",
    ],
    Kind.SKIP: [
        b"SET @@SESSION.SQL_LOG_BIN= 0",
        b"SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN",
        b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'ce5b1846-e6ca-11f1-bfc2-02fc00000001:1-7'",
        b"/*!80002 ANALYZE TABLE `t` UPDATE HISTOGRAM ON `d` WITH 10 BUCKETS */",
        b"ALTER DATABASE `kimai` CHARACTER SET latin1 COLLATE latin1_swedish_ci",
        b"/*!50717 SET @rocksdb_get_is_supported = IF (@x, 'SELECT 1', 'SELECT 0') */",
        b"/*!50717 PREPARE s FROM @rocksdb_get_is_supported */",
        b"/*!50717 EXECUTE s */",
        b"/*!50717 DEALLOCATE PREPARE s */",
        b"/* nothing */",
    ],
    Kind.CREATE_TABLE: [
        b"CREATE TABLE `t` (`id` int(11) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
        b"CREATE TABLE IF NOT EXISTS t (a int)",
        b"create table `kimai`.`t` (`select` int, `data directory` int, `engine` text COMMENT 'ENGINE=FEDERATED')",
        b"CREATE TABLE `t` (`id` int, CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES `kimai`.`u` (`id`))",
        b"CREATE TABLE `t` (`n` bigint DEFAULT nextval(`kimai`.`sq`)) WITH SYSTEM VERSIONING",
        b"CREATE TABLE `t` (`a` int /*!80023 INVISIBLE */, CHECK ((`a` > 0)) /*!80016 NOT ENFORCED */) ENGINE=Aria",
        b"CREATE TABLE `q` (`id` int) ENGINE=InnoDB\n/*!50100 PARTITION BY RANGE (`id`)\n"
        b"(PARTITION p0 VALUES LESS THAN (10) ENGINE = InnoDB) */",
        b"/*!50001 CREATE TABLE `v` (\n `a` tinyint NOT NULL\n) ENGINE=MyISAM */",
    ],
    Kind.CREATE_VIEW: [
        b"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n"
        b"/*!50001 VIEW `v` AS select `kimai`.`a`.`id` AS `id` from `other`.`a` */",
        b"/*!50001 CREATE VIEW `v` AS SELECT \n 1 AS `id`*/",
        b"CREATE OR REPLACE VIEW v (`a`, b) AS SELECT 1, 2",
    ],
    Kind.CREATE_TRIGGER: [
        b"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `a` FOR EACH ROW "
        b"BEGIN SET NEW.t = CONCAT(NEW.t, ';', '\\''); /* a comment */ -- it's\n SELECT 1 INTO @x; END */",
        b'/*!50003 CREATE*/ /*!50017 DEFINER="root"@"localhost"*/ /*!50003 TRIGGER t AFTER UPDATE ON a FOR EACH ROW '
        b"SET @y=1*/",
        b"CREATE DEFINER=root@localhost TRIGGER t AFTER DELETE ON a FOR EACH ROW DELETE FROM b",
        b"CREATE DEFINER=`root`@`192.168.1.1` TRIGGER `kimai`.`t` AFTER DELETE ON `a` FOR EACH ROW DELETE FROM b",
    ],
    Kind.CREATE_ROUTINE: [
        b"CREATE DEFINER=`root`@`localhost` PROCEDURE `pr`(IN x INT)\nBEGIN SELECT x; PREPARE s FROM @y; END",
        b"CREATE DEFINER=CURRENT_USER() FUNCTION `fn`(x INT) RETURNS int DETERMINISTIC RETURN x+1",
        b"CREATE AGGREGATE FUNCTION f(x INT) RETURNS INT BEGIN FETCH GROUP NEXT ROW; END",
        b"CREATE PACKAGE BODY `p` AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END",
    ],
    Kind.CREATE_EVENT: [
        b"/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `ev` ON SCHEDULE EVERY 1 DAY "
        b"STARTS '2026-11-22 23:18:33' ON COMPLETION NOT PRESERVE ENABLE DO BEGIN DELETE FROM p; END */",
    ],
    Kind.CREATE_SEQUENCE: [
        b"CREATE SEQUENCE `sq` start with 5 minvalue -1 increment by 1 cache 1000 nocycle ENGINE=InnoDB",
    ],
    Kind.SEQUENCE_VALUE: [b"DO SETVAL(`sq`, 1005, 0)", b"SELECT SETVAL(`sq`, -5, 0)"],
    Kind.ALTER_TABLE: [
        b"ALTER TABLE `t` ADD PRIMARY KEY (`id`), ADD UNIQUE KEY `u` (`a`,`b`), ADD KEY `k` (`c`)",
        b"ALTER TABLE `t` MODIFY `id` int(11) NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=6",
        b"ALTER TABLE `t` ADD CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `u` (`id`) ON DELETE CASCADE",
    ],
    Kind.ALTER_EVENT: [b"ALTER EVENT `ev` ENABLE", b"ALTER DEFINER=`a`@`b` EVENT `ev` ENABLE"],
    Kind.KEYS: [b"/*!40000 ALTER TABLE `t` DISABLE KEYS */", b"/*!40000 ALTER TABLE `t` ENABLE KEYS */"],
    Kind.DROP: [
        b"DROP TABLE IF EXISTS `t`",
        b"DROP TABLE `a`, `kimai`.`b`",
        b"/*!50001 DROP VIEW IF EXISTS `v`*/",
        b"/*!50032 DROP TRIGGER IF EXISTS `tr` */",
        b"/*!50003 DROP PROCEDURE IF EXISTS `pr` */",
        b"/*!50106 DROP EVENT IF EXISTS `ev` */",
        b"DROP SEQUENCE IF EXISTS `sq`",
    ],
    Kind.INSERT: [
        b"INSERT INTO `t` VALUES (1,'a',NULL,-1.5,1e300,-0e0,0xFF,X'00',b'1',_binary '\\0',_latin1 X'E4',DEFAULT,TRUE)",
        b"insert ignore into `kimai`.`t` (`a`, `select`) values ('x'),\n('y')",
        b"INSERT  IGNORE INTO t VALUES\n(1,'(SELECT 1)'),\n\t(2,'LOAD_FILE(''x'')')",
        b"INSERT INTO `t` () VALUES ()",
        b"INSERT INTO `t` VALUES ('\\'),(SELECT 1', '--', '/*', '#', '`', '\"'),(\"a,(b)\",'')",
        b"INSERT INTO `t` VALUES (1), -- a comment\n /* another */ (2)",
        b"INSERT /* c */ INTO/***/ `t` /* a * b **/ VALUES # c\n (1)",
        b"INSERT INTO `t` VALUES (CAST('1.10' AS JSON), ST_GeomFromText('POINT(1 2)'))",
    ],
    Kind.REPLACE: [b"REPLACE INTO `t` VALUES (1,2)"],
    Kind.LOCK: [b"LOCK TABLES `t` WRITE", b"LOCK TABLES `t` READ /*!32311 LOCAL */,`u` READ /*!32311 LOCAL */"],
    Kind.UNLOCK: [b"UNLOCK TABLES"],
    Kind.TRANSACTION: [b"START TRANSACTION", b"START TRANSACTION WITH CONSISTENT SNAPSHOT", b"commit", b"BEGIN"],
}

REFUSED = [
    # The server, its accounts, other databases
    b"USE other",
    b"GRANT ALL ON *.* TO root",
    b"REVOKE ALL ON *.* FROM root",
    b"CREATE USER a",
    b"ALTER USER a IDENTIFIED BY 'x'",
    b"DROP USER a",
    b"CREATE ROLE a",
    b"CREATE DATABASE `x`",
    b"DROP DATABASE `kimai`",
    b"CREATE SCHEMA x",
    b"DROP SCHEMA x",
    b"ALTER DATABASE x READ ONLY = 1",
    b"CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    b"CREATE TABLESPACE t ADD DATAFILE 'x'",
    b"CREATE LOGFILE GROUP g ADD UNDOFILE 'x'",
    b"INSTALL PLUGIN p SONAME 'x.so'",
    b"UNINSTALL PLUGIN p",
    b"CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
    b"SHUTDOWN",
    b"RESTART",
    b"KILL 1",
    b"FLUSH PRIVILEGES",
    b"RESET MASTER",
    b"CHANGE MASTER TO MASTER_HOST='x'",
    b"CLONE INSTANCE FROM u@h:1 IDENTIFIED BY 'x'",
    b"RENAME TABLE a TO b",
    b"TRUNCATE TABLE a",
    # Files
    b"LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
    b"LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t",
    b"LOAD XML INFILE 'x' INTO TABLE t",
    b"SELECT 1 INTO OUTFILE '/tmp/x'",
    b"SELECT LOAD_FILE('/etc/passwd')",
    b"CREATE VIEW v AS SELECT LOAD_FILE('/etc/passwd')",
    b"CREATE VIEW v AS SELECT `load_file` ('/etc/passwd')",
    b"CREATE VIEW v AS SELECT a FROM t INTO /* */ OUTFILE 'x'",
    b"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1 INTO DUMPFILE 'x'",
    b"CREATE PROCEDURE p() BEGIN LOAD DATA INFILE 'x' INTO TABLE t; END",
    b"CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW SET @x = sys_exec('id')",
    b"CREATE TABLE t (a int) DATA DIRECTORY='/x'",
    b"CREATE TABLE t (a int) INDEX DIRECTORY '/x'",
    b"CREATE TABLE t (a int) PARTITION BY HASH (a) (PARTITION p DATA DIRECTORY = '/x')",
    b"CREATE TABLE t (a int) ENGINE=FEDERATED CONNECTION='mysql://h/d/t'",
    b"CREATE TABLE t (a int) ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd'",
    b"CREATE TABLE t (a int) engine 'connect'",
    b"CREATE TABLE t (a int) ENGINE=`SPIDER`",
    b"CREATE SEQUENCE s ENGINE=CONNECT",
    # Running things, reading other tables
    b"CALL p()",
    b"PREPARE s FROM 'DROP TABLE a'",
    b"EXECUTE s",
    b"EXECUTE IMMEDIATE 'DROP TABLE a'",
    b"DEALLOCATE PREPARE s",
    b"DO SLEEP(1)",
    b"DO SETVAL(s, (SELECT 1))",
    b"SELECT 1",
    b"(SELECT 1)",
    b"VALUES ROW(1)",
    b"TABLE t",
    b"WITH x AS (SELECT 1) SELECT 1",
    b"HANDLER t OPEN",
    b"UPDATE t SET a=1",
    b"DELETE FROM t",
    b"BEGIN NOT ATOMIC SELECT 1; END",
    b"ANALYZE FORMAT=JSON SELECT 1",
    b"EXPLAIN SELECT 1",
    b"CREATE TABLE t SELECT 1",
    b"CREATE TABLE t (a int) SELECT 1",
    b"CREATE TABLE t (a int) AS TABLE mysql.user",
    b"CREATE TABLE t (SELECT 1)",
    b"CREATE TABLE t LIKE mysql.user",
    b"CREATE TABLE t (LIKE mysql.user)",
    b"CREATE INDEX i ON t (a)",
    b"ALTER TABLE t RENAME TO u",
    b"ALTER TABLE t ENGINE=CONNECT",
    b"ALTER TABLE t ADD KEY k (a), RENAME u",
    b"ALTER TABLE t ADD COLUMN a int",
    b"ALTER TABLE t MODIFY a int, DROP COLUMN b",
    b"ALTER TABLE t AUTO_INCREMENT = 5 DATA DIRECTORY = 'x'",
    b"ALTER EVENT e DO DROP TABLE t",
    # Rows that are more than literals
    b"INSERT INTO t SELECT * FROM u",
    b"INSERT INTO t (SELECT * FROM u)",
    b"INSERT INTO t (a) SELECT 1",
    b"INSERT INTO t TABLE u",
    b"INSERT INTO t SET a=1",
    b"INSERT INTO t VALUES ((SELECT a FROM u))",
    b"INSERT INTO t VALUES (1),((SELECT a FROM u))",
    b"INSERT INTO t VALUES (1) UNION SELECT a FROM u",
    b"INSERT INTO t VALUES (1) UNION (SELECT a FROM u)",
    b"INSERT INTO t VALUES (1),(2) UNION (SELECT a FROM u)",
    b"INSERT INTO t VALUES ROW(1) UNION TABLE u",
    b"INSERT INTO t VALUES (LOAD_FILE('/etc/passwd'))",
    b"INSERT INTO t VALUES ('a',LOAD_FILE/**/('/etc/passwd'))",
    b"INSERT INTO t VALUES (`load_file`('/etc/passwd'))",
    b"INSERT INTO t VALUES (other.f(1))",
    b"INSERT INTO t VALUES (SLEEP(1))",
    b"INSERT INTO t VALUES ('\\\\',LOAD_FILE('x'),'\\'')",
    b"INSERT INTO t VALUES ('a'),(LOAD_FILE('),('))",
    b"INSERT INTO t VALUES (@x:=1)",
    b"INSERT INTO t VALUES (@@datadir)",
    b"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=VALUES(a)",
    b"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=1",
    b"INSERT INTO t VALUES (1) RETURNING a",
    b"INSERT INTO t VALUES (/*!50000 SLEEP(1) */ 1)",
    b"INSERT INTO t VALUES (1) /*!80000 UNION SELECT 1 */",
    b"INSERT /*+ SET_VAR(sql_mode='') */ INTO t VALUES (1)",
    b"INSERT INTO t VALUES (1 --\xa0'\n,LOAD_FILE('/etc/passwd') --\xa0'\n)",
    b"/*!50000 INSERT INTO t SELECT 1 */",
    b"INSERT INTO t PARTITION (p0) VALUES (1)",
    # Other databases
    b"INSERT INTO `other`.`t` VALUES (1)",
    b"INSERT INTO other . t VALUES (1)",
    b"INSERT INTO `kimai```.`t` VALUES (1)",
    b"REPLACE INTO mysql.user VALUES (1)",
    b"CREATE TABLE other.t (a int)",
    b"CREATE TABLE t (a int REFERENCES `other`.`t` (a))",
    b"ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES other . t (a)",
    b"ALTER TABLE other.t ADD KEY k (a)",
    b"DROP TABLE t, other.t",
    b"DROP VIEW `other`.`v`",
    b"CREATE VIEW other.v AS SELECT 1",
    b"CREATE TRIGGER other.t AFTER INSERT ON a FOR EACH ROW SET @x=1",
    b"CREATE TRIGGER t AFTER INSERT ON other.a FOR EACH ROW SET @x=1",
    b"CREATE PROCEDURE other.p() SELECT 1",
    b"CREATE EVENT other.e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    b"LOCK TABLES other.t WRITE",
    b"DO SETVAL(other.s, 1)",
    # Settings
    b"SET GLOBAL general_log=1",
    b"SET @@GLOBAL.general_log=1",
    b"SET @@global . general_log=1",
    b"SET PERSIST max_connections=1",
    b"SET @@PERSIST_ONLY.max_connections=1",
    b"SET PASSWORD = 'x'",
    b"SET PASSWORD FOR root = 'x'",
    b"SET ROLE admin",
    b"SET DEFAULT ROLE admin TO a",
    b"SET STATEMENT max_statement_time=1 FOR DROP DATABASE x",
    b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    b"SET init_connect='x'",
    b"SET FOREIGN_KEY_CHECKS=0, GLOBAL general_log=1",
    b"SET sql_log_bin=0, foreign_key_checks=0",
    b"SET sql_mode='NO_BACKSLASH_ESCAPES'",
    b"SET sql_mode='ansi,no_backslash_escapes'",
    b"SET sql_mode=1048576",
    b"SET sql_mode='1048576'",
    b"SET sql_mode=0x4E4F5F4241434B534C4153485F45534341504553",
    b"SET sql_mode='NO_BACK' 'SLASH_ESCAPES'",
    b"SET sql_mode=CONCAT('NO_BACK','SLASH_ESCAPES')",
    b"SET sql_mode=@@GLOBAL.sql_mode",
    b"SET @x='NO_BACKSLASH_ESCAPES'",
    b"SET @x=(SELECT 1)",
    b"SET @x=LOAD_FILE('x')",
    b"SET @x=@@GLOBAL.sql_mode",
    b"SET @x=@@character_set_database",
    b"SET NAMES gbk",
    b"SET NAMES 'sjis'",
    b"SET NAMES utf8mb4 COLLATE gbk_chinese_ci",
    b"SET character_set_client=big5",
    b"SET collation_connection=gbk_chinese_ci",
    b"SET",
    b"SET x",
    b"SET foreign_key_checks",
    # Broken
    b"SELECT 'open",
    b"\x00",
    b"DROP TABLE t, ",
    b"DROP TABLE `open",
]


def spellings(statement: bytes) -> list[bytes]:
    """The same words in other cases, with comments and line ends between them, and in versioned comments."""
    parts = statement.split(b" ")
    return [
        statement,
        statement.swapcase(),
        b"/**/\n\t".join(parts) if b"'" not in statement else statement,
        b"  -- c\n ".join(parts) if b"'" not in statement and b"--" not in statement else statement,
        b"/*!50000 " + statement + b" */",
        b"/*!99999 " + statement + b" */",
        b"/*M!100100 " + statement + b" */",
        b"/*! " + statement + b"*/",
    ]


@pytest.mark.parametrize(("kind", "statement"), [(kind, one) for kind, some in PASSES.items() for one in some])
def test_what_dump_tools_write_passes(kind: Kind, statement: bytes) -> None:
    assert admit(statement, "kimai") is kind


def test_every_kind_is_shown_above() -> None:
    assert set(PASSES) == set(Kind)


@pytest.mark.parametrize("statement", REFUSED)
def test_everything_else_is_refused_in_every_spelling(statement: bytes) -> None:
    for spelling in spellings(statement):
        with pytest.raises(Refused, match="not sent to the database"):
            admit(spelling, "kimai")


def test_without_a_database_no_qualified_name_passes() -> None:
    with pytest.raises(Refused, match="names the database kimai"):
        admit(b"DROP TABLE `kimai`.`t`")


@pytest.mark.parametrize("statement", [b"USE `kimai`", b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `kimai`"])
def test_a_dump_made_with_databases_is_told_how_to_be_made(statement: bytes) -> None:
    with pytest.raises(Refused, match="--databases"):
        admit(statement, "kimai")


def test_a_dump_in_ansi_quotes_is_told_how_to_be_made() -> None:
    with pytest.raises(Refused, match="--compatible=ansi"):
        admit(b'DROP TABLE IF EXISTS "t"', "kimai")


def test_the_refusal_shows_the_beginning_and_no_value() -> None:
    with pytest.raises(Refused) as caught:
        admit(b"UPDATE `users`\nSET password = 'hunter2' WHERE " + b"x" * 500)
    assert "UPDATE `users` SET password =" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 250


# --- Versioned comments, which servers read differently ---------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        # MariaDB skips the first comment, so that the rest stands alone there.
        b"/*!80000 CREATE VIEW v AS SELECT */ CALL p()",
        # An old server skips the middle.
        b"DROP /*!99999 TABLE IF EXISTS a, */ DATABASE b",
        b"CREATE TABLE t (a int) /*M!110000 COMMENT='x', */ SELECT 1",
        b"/*!50000 GR*/ANT ALL ON *.* TO a",
    ],
)
def test_a_statement_must_be_harmless_to_whichever_server_reads_it(statement: bytes) -> None:
    with pytest.raises(Refused):
        admit(statement, "kimai")


@pytest.mark.parametrize(
    "statement",
    [
        b"CREATE TABLE t (a int) /* open",
        b"/*!50000 CREATE TABLE t (a int)",
        b"INSERT INTO t VALUES (/*M! SLEEP(1) */ 1)",
        # What skips the comment ends it within the string.
        b"/*!99999 DROP TABLE `*/ GRANT ALL ON x TO y /*` */",
        b"CREATE TABLE t (a int /*!80000 COMMENT '*/ ) SELECT LOAD_FILE(1) /*' */)",
        b"CREATE TABLE t (a int /*M!110000 -- */ ) SELECT 1 /*\n */)",
        b"/*M!100000 CREATE TABLE t (a int) /* */ SELECT 1 */",
        b"/*!50000 CREATE TABLE t (a int) /*!80000 SELECT 1 */ */",
    ],
)
def test_a_comment_without_an_end_that_all_servers_agree_on_is_refused(statement: bytes) -> None:
    with pytest.raises(Refused):
        admit(statement, "kimai")


def test_the_kind_is_that_of_the_fullest_reading() -> None:
    assert admit(b"/*!80000 DROP TABLE t */") is Kind.DROP
    assert admit(b"DROP TABLE t /*!80000 CASCADE */") is Kind.DROP


# --- Rows, wide -------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.integers().map(lambda number: b"%d" % number),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: repr(number).encode()),
    st.sampled_from([b"NULL", b"DEFAULT", b"X'00FF'", b"0xFF", b"b'01'", b"_binary ''", b"-0e0"]),
    st.binary(max_size=40).map(lambda raw: b"'" + raw.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"),
    st.sampled_from([b"SELECT 1 FROM t)", b"),(", b"),\n(", b"\\'", b"--  ", b"/*!", b"(((", b'"`#;']).map(
        lambda text: b"'" + text + b"'"
    ),
)
ROWS = st.lists(st.lists(VALUES, min_size=1, max_size=6).map(b",".join), min_size=1, max_size=6)
JOINTS = st.sampled_from([b"),(", b"),\n(", b"),\r\n(", b"),\n\t(", b") , ("])


@given(ROWS, JOINTS)
@settings(max_examples=examples(400))
@example([b"1", b"2"], b"), (")
def test_rows_of_literals_pass_whatever_they_hold(rows: list[bytes], joint: bytes) -> None:
    statement = b"INSERT INTO `t` (`a`) VALUES (" + joint.join(rows) + b")"
    assert list(split([statement + b";\n"], largest=1 << 20)) == [statement]
    assert admit(statement) is Kind.INSERT


HARMFUL = [b"LOAD_FILE('/etc/passwd')", b"(SELECT 1)", b"f(1)", b"@x", b"`f`(1)", b"/*! f() */ 1", b"x.f ('')"]


@given(ROWS, st.sampled_from(HARMFUL), ROWS, JOINTS, st.sampled_from([b",", b"+", b"),("]))
@settings(max_examples=examples(400))
def test_one_harmful_value_among_any_others_is_found(
    before: list[bytes], harmful: bytes, after: list[bytes], joint: bytes, between: bytes
) -> None:
    rows = joint.join(before) + between + harmful + between + joint.join(after)
    with pytest.raises(Refused):
        admit(b"INSERT INTO `t` VALUES (" + rows + b")")


def test_a_query_after_the_rows_is_found_however_many_rows_there_are() -> None:
    rows = b"),(".join(b"%d,'x'" % number for number in range(20_000))
    assert admit(b"INSERT INTO t VALUES (" + rows + b")") is Kind.INSERT
    for tail in (b" UNION SELECT 1,2", b" UNION (SELECT 1,2)", b",(1,f(2))", b" /*!80000 UNION SELECT 1 */"):
        with pytest.raises(Refused):
            admit(b"INSERT INTO t VALUES (" + rows + b")" + tail)


def test_a_definition_too_long_to_be_checked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "LARGEST_DEFINITION", 1000)
    with pytest.raises(Refused, match="too many"):
        admit(b"CREATE TABLE t (a int COMMENT '" + b"x" * 1000 + b"')")


@pytest.mark.parametrize(
    "statement",
    [
        b"CREATE SEQUENCE s " + b"1" * 50_000 + b"!",
        b"INSERT INTO t (" + b"a" * 50_000 + b"!",
        b"INSERT" + b" " * 50_000 + b"!",
        b"/**/" * 20_000 + b"!",
        b"LOCK TABLES " + b"a," * 20_000 + b"!",
        b"SET " + b"@a=1," * 5_000 + b"!",
        b"SET sql_mode='" + b"a" * 50_000 + b"!'",
        b"CREATE " + b"/*" * 50_000,
        b"INSERT INTO t VALUES (" + b"'" * 50_001 + b")",
        b"INSERT INTO t VALUES (" + b"\\'" * 50_000 + b")",
    ],
)
@pytest.mark.timeout(10)
def test_no_pattern_runs_away(statement: bytes) -> None:
    with pytest.raises(Refused):
        admit(statement)
