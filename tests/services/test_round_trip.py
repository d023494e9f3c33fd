"""Whatever a column can hold comes back the same: by CHECKSUM TABLE, by the native client's dump, by our digests."""

from collections.abc import Callable

import pytest

from tests.support.engine import assert_round_trip, fill
from tests.support.servers import Server

EVERY_BYTE = bytes(range(256)).hex()
SINGLE_BYTE = ["latin1", "latin2", "cp1251", "cp1250", "koi8r", "greek", "hebrew", "cp850", "macroman", "cp866", "dec8",
               "latin5", "latin7", "cp1256", "cp1257", "koi8u", "tis620", "armscii8", "swe7", "hp8", "geostd8",
               "keybcs2", "macce", "cp852"]  # fmt: skip
"""Each takes any byte; many map some of them to no character, which no conversion survives."""
MULTI_BYTE = {
    "cp932": ["835C", "8140", "F04081AD"], "sjis": ["835C", "8140"], "ujis": ["A4A2B0A1", "8FA2AF"],
    "eucjpms": ["A4A2B0A1"], "gbk": ["C4E3BAC3D55C"], "gb2312": ["C4E3BAC3"], "big5": ["A55CA440", "F9D6", "C87E"],
    "euckr": ["B0A1"], "utf16": ["00E4D83DDE000027"], "utf32": ["0001F600000000E4"], "ucs2": ["00E40027"],
    "utf16le": ["E4003DD800DE"],
}  # fmt: skip
SCHEMAS: dict[str, list[str]] = {
    "integers": [
        """CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d INT,
        e BIGINT, f BIGINT UNSIGNED ZEROFILL, g YEAR, h BOOL, i INT(5) ZEROFILL)""",
        "INSERT INTO t VALUES (0,-128,0,-8388608,-2147483648,-9223372036854775808,0,0,0,7),"
        "(18446744073709551615,127,65535,8388607,2147483647,9223372036854775807,18446744073709551615,2155,1,99999),"
        "(5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)",
    ],
    "negative keys and gaps": [
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT)",
        "INSERT INTO t VALUES (-9223372036854775808,1),(-1,2),(0,3),(1,4),(9223372036854775807,5)",
    ],
    "decimals alone": [
        "CREATE TABLE t (d DECIMAL(5,5))",
        "INSERT INTO t VALUES (-0.99999),(0.99999),(0),(NULL),(0.00001)",
        "CREATE TABLE u (id INT PRIMARY KEY, d DECIMAL(65,30), e DECIMAL(5,5), f DECIMAL(65,0))",
        f"INSERT INTO u VALUES (1,{'9' * 35}.{'9' * 30},-0.99999,-{'9' * 65}),"
        f"(2,-{'9' * 35}.{'9' * 30},0,0),(3,NULL,NULL,1)",
    ],
    "doubles": [
        "CREATE TABLE t (id INT PRIMARY KEY, d DOUBLE)",
        "INSERT INTO t VALUES (1,-1.7976931348623157e308),(2,1.7976931348623157e308),(3,2.2250738585072014e-308),"
        "(4,-2.2250738585072014e-308),(5,0.1),(6,1/3),(7,1e15),(8,123456789012345678),(9,-0e0),(10,0),(11,NULL),"
        "(12,4.9e-324),(13,1e22),(14,9007199254740993),(15,0.30000000000000004)",
        "CREATE TABLE alone (d DOUBLE NOT NULL)",
        "INSERT INTO alone VALUES (-1.7976931348623157e308),(-0e0),(2.2250738585072014e-308),"
        "(-2.2250738585072014e-308)",
    ],
    "floats": [
        "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, g FLOAT NOT NULL)",
        "INSERT INTO t VALUES (1,16777216,0.1),(2,16777215,1e-38),(3,3.4028234e38,-3.4028234e38),(4,NULL,-0e0),"
        "(5,1.17549435e-38,123456.789),(6,0.33333334,16777217)",
    ],
    "bits": [
        "CREATE TABLE t (id INT PRIMARY KEY, a BIT(1), b BIT(64), c BIT(7) NOT NULL)",
        "INSERT INTO t VALUES (1,b'1',b'1111111111111111111111111111111111111111111111111111111111111111',b'0101010'),"
        "(2,b'0',b'0',b'0'),(3,NULL,NULL,b'1111111')",
    ],
    "binaries": [
        "CREATE TABLE t (id INT PRIMARY KEY, a BINARY(16), b VARBINARY(300), c TINYBLOB, d BLOB, e LONGBLOB NOT NULL)",
        f"INSERT INTO t VALUES (1,X'00FF',X'{EVERY_BYTE}',X'{EVERY_BYTE[:510]}',X'{EVERY_BYTE}',X'{EVERY_BYTE}'),"
        "(2,'','','','',''),(3,NULL,NULL,NULL,NULL,X'00')",
    ],
    "texts": [
        """CREATE TABLE t (id INT PRIMARY KEY, a CHAR(20), b VARCHAR(200), c TINYTEXT, d TEXT, e LONGTEXT,
        f ENUM('a','ä','it''s','') , g SET('x','y ','ß') CHARACTER SET utf8mb4, h VARCHAR(50) COLLATE utf8mb4_bin)
        CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci""",
        "INSERT INTO t VALUES (1,'pad  ','a\\'b\"c\\\\d\\0e\\nf\\rg\\Zh\\ti%_`','😀','','null','it\\'s','x,ß','X'),"
        "(2,'','','','','','','',''),(3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),"
        "(4,'),(','\\'),(\\'',');\\n--',');\\nDROP TABLE t;\\n','/* */ # --','a','x','\\\\')",
    ],
    "times": [
        """CREATE TABLE t (id INT PRIMARY KEY, a DATE, b TIME, c TIME(6), d DATETIME, e DATETIME(6),
        f TIMESTAMP NULL DEFAULT NULL, g TIMESTAMP(3) NULL DEFAULT NULL, h YEAR)""",
        "INSERT INTO t VALUES (1,'0000-00-00','-838:59:59','-00:00:00.000001','0000-00-00 00:00:00',"
        "'9999-12-31 23:59:59.999999','1970-01-01 00:00:01','2038-01-19 03:14:07.999',0),"
        "(2,'2026-02-00','838:59:59','838:59:59.000000','2026-10-25 02:30:00','1000-01-01 00:00:00.5',"
        "'2026-10-25 01:30:00','2026-03-29 01:30:00.001',1901),(3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)",
    ],
    "json": [
        "CREATE TABLE t (id INT PRIMARY KEY, j JSON)",
        """INSERT INTO t VALUES (1,'{"a": [1, 2.5, "ä😀", null, true], "q": "it''s \\\\"x\\\\" \\\\\\\\ "}'),(2,NULL),
        (3,'[]')""",
    ],
    "geometry": [
        "CREATE TABLE t (id INT PRIMARY KEY, g GEOMETRY, p POINT NOT NULL)",
        "INSERT INTO t VALUES (1,ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'),ST_GeomFromText('POINT(1.5 -2)')),"
        "(2,NULL,ST_GeomFromText('POINT(0 0)')),"
        "(3,ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))'),"
        "ST_GeomFromText('POINT(1e300 1e-300)'))",
    ],
    "generated, invisible, checked, defaulted": [
        """CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT DEFAULT 3 CHECK (a > 0),
        v INT AS (a + 1) VIRTUAL, s VARCHAR(50) AS (CONCAT('x', a)) STORED, hidden INT INVISIBLE DEFAULT 9,
        d VARCHAR(36) DEFAULT (CONCAT('a', 'b')), ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        KEY s_key (s), CONSTRAINT named CHECK (a < 1000)) COMMENT='it''s; a \\\\ comment'""",
        "INSERT INTO t (a, hidden) VALUES (1, 5), (2, NULL), (999, 7)",
    ],
    "all generated": [
        "CREATE TABLE all_generated (v INT AS (1) VIRTUAL, w INT AS (2) STORED)",
        "INSERT INTO all_generated VALUES (), (), ()",
    ],
    "names": [
        "CREATE TABLE `sp ace``tick-ä😊`.`x` (id INT)".replace("`.`x`", "`").replace("😊", ""),
        "INSERT INTO `sp ace``tick-ä` VALUES (1)",
        "CREATE TABLE `select` (`from` INT PRIMARY KEY, `a b` INT, `ü``'\"` VARCHAR(9), KEY `k e``y` (`a b`))",
        "INSERT INTO `select` VALUES (1,2,'x'),(2,NULL,NULL)",
        "CREATE TABLE `100% %s {x}` (`%d` INT PRIMARY KEY)",
        "INSERT INTO `100% %s {x}` VALUES (4)",
    ],
    "keys": [
        "CREATE TABLE several (a INT, b VARCHAR(10), c INT, PRIMARY KEY (a, b), UNIQUE KEY u (c), KEY k (b(3), a))",
        "INSERT INTO several VALUES (1,'x',1),(1,'y',2),(2,'x',NULL)",
        "CREATE TABLE words (w VARCHAR(50) COLLATE utf8mb4_bin PRIMARY KEY, FULLTEXT KEY f (w))",
        "INSERT INTO words VALUES ('a'),('A'),('ä')",
        "CREATE TABLE none (a INT, b TEXT)",
        "INSERT INTO none VALUES (1,'dup'),(1,'dup'),(NULL,NULL),(2,'')",
        "CREATE TABLE `empty` (id INT PRIMARY KEY)",
        "CREATE TABLE second (a INT, id INT AUTO_INCREMENT, PRIMARY KEY (a), KEY (id)) AUTO_INCREMENT=77",
        "INSERT INTO second (a) VALUES (5),(4)",
        "CREATE TABLE unique_only (a INT NOT NULL, UNIQUE KEY u (a))",
        "INSERT INTO unique_only VALUES (3),(1)",
    ],
    "foreign keys in a circle": [
        "CREATE TABLE a (id INT PRIMARY KEY, b_id INT, boss INT, KEY b_key (b_id), KEY boss_key (boss))",
        "CREATE TABLE b (id INT PRIMARY KEY, a_id INT NOT NULL, KEY a_key (a_id))",
        "INSERT INTO a VALUES (1,2,1),(2,NULL,1)",
        "INSERT INTO b VALUES (2,1),(3,2)",
        "ALTER TABLE a ADD CONSTRAINT a_b FOREIGN KEY (b_id) REFERENCES b (id) ON DELETE SET NULL,"
        " ADD CONSTRAINT own FOREIGN KEY (boss) REFERENCES a (id)",
        "ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE",
        "SET foreign_key_checks = 0",
        "INSERT INTO b VALUES (99, 12345)",
    ],
    "views, triggers, routines, events": [
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(50))",
        "INSERT INTO t VALUES (1,1),(2,2)",
        "CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2",
        "CREATE PROCEDURE fill(n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO SET i = i + 1;"
        " INSERT INTO log (what) VALUES (CONCAT('it''s; ', i)); END WHILE; END",
        "CREATE VIEW z_base AS SELECT id, v, twice(v) AS doubled FROM t",
        "CREATE VIEW a_top AS SELECT doubled, id AS `odd name` FROM z_base WHERE id > 0",
        "CREATE TRIGGER t_in AFTER INSERT ON t FOR EACH ROW INSERT INTO log (what) VALUES ('in; \\'x\\'')",
        "CREATE TRIGGER t_in2 AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO log (what) VALUES ('second');"
        " INSERT INTO log (what) VALUES ('third'); END",
        "CREATE EVENT each_year ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00' COMMENT 'ENABLE; not this'"
        " DO DELETE FROM log",
        "CREATE EVENT off_now ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DISABLE DO DELETE FROM log",
        "INSERT INTO t VALUES (3,3)",
    ],
}
MARIADB_ONLY = {
    "uuid and inet": [
        "CREATE TABLE t (id INT PRIMARY KEY, u UUID, i INET6, j INET4)",
        "INSERT INTO t VALUES (1,'123e4567-e89b-12d3-a456-426655440000','2001:db8::ff00:42:8329','1.2.3.4'),"
        "(2,NULL,'::','0.0.0.0'),(3,'00000000-0000-0000-0000-000000000000',NULL,NULL)",
    ],
    "sequences": [
        "CREATE SEQUENCE s START WITH 5 INCREMENT BY 3 CACHE 10",
        "SELECT NEXTVAL(s)",
        "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(s), v INT)",
        "INSERT INTO t (v) VALUES (1),(2)",
    ],
    "other engines": [
        "CREATE TABLE m (id INT PRIMARY KEY, v VARCHAR(9), KEY (v)) ENGINE=MyISAM",
        "INSERT INTO m VALUES (2,'b'),(1,'a')",
        "CREATE TABLE r (id INT PRIMARY KEY, v VARCHAR(9)) ENGINE=Aria",
        "INSERT INTO r VALUES (2,'b'),(1,'a')",
    ],
    "system versioned": [
        "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
        "INSERT INTO t VALUES (1,1),(2,2)",
        "UPDATE t SET v = 5 WHERE id = 1",
    ],
    "partitions": [
        "CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) "
        "(PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "INSERT INTO t VALUES (5,1),(50,2),(-5,3)",
    ],
}  # fmt: skip
MYSQL_ONLY = {
    "functional keys and json": [
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), j JSON, KEY f ((LOWER(a))), KEY h (a) INVISIBLE,"
        " UNIQUE KEY u ((CONCAT(a, '-', id)), id DESC),"
        " k INT AS (j->>'$.k') STORED, lower VARCHAR(20) AS (LOWER(a)) VIRTUAL UNIQUE)",
        """INSERT INTO t (id, a, j) VALUES (1,'Ab','{"k": 1, "tags": [1, 2]}'), (2,NULL,'{"k": 7}'), (3,'',NULL)""",
        "CREATE TABLE v (id INT PRIMARY KEY, vec VECTOR(3))",
        "INSERT INTO v VALUES (1, STRING_TO_VECTOR('[1,2.5,-3]')), (2, NULL)",
        "CREATE TABLE nested (id INT PRIMARY KEY, j JSON NOT NULL)",
        """INSERT INTO nested VALUES (1,'"text"'),(2,'null'),(3,'1.5'),(4,'18446744073709551615'),
        (5,'{"a": {"b": []}}'),(6,JSON_OBJECT('ü😀', 'it''s \\\\ "x"\n')),(7,'-0.1e-7'),(8,'[1e300, true, false]')""",
    ],
    "expression defaults and checks": [
        """CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, u BINARY(16) DEFAULT (UUID_TO_BIN(UUID())),
        j JSON DEFAULT (JSON_OBJECT('a', JSON_ARRAY(1, 'it''s'))), x TEXT DEFAULT (CONCAT('ü', '\\\\')),
        p POINT DEFAULT (POINT(1, 2)), d DATE DEFAULT (CURRENT_DATE + INTERVAL 1 YEAR), n INT DEFAULT (1 + 2),
        secret INT INVISIBLE DEFAULT (40 + 2), a INT CONSTRAINT off CHECK (a > 5) NOT ENFORCED,
        b INT, CONSTRAINT `both` CHECK ((a < b) OR (a IS NULL) OR (b IS NULL)))""",
        "INSERT INTO t (a, b) VALUES (1, 2), (NULL, NULL), (9, NULL)",
        "INSERT INTO t (a, secret, n) VALUES (3, 7, NULL)",
    ],
    "charsets and collations of its own": [
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(30), b VARCHAR(30) COLLATE utf8mb4_0900_as_cs, "
        "c VARCHAR(30) CHARACTER SET utf8mb3, d VARCHAR(30) COLLATE utf8mb4_0900_bin, "
        "e CHAR(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin, f VARCHAR(9) COLLATE utf8mb4_ja_0900_as_cs_ks, "
        "UNIQUE KEY a_key (a), KEY c_key (c)) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
        "INSERT INTO t VALUES (1,'ä😀','A','äöü','x','ü','あ'),(2,'b ','a','b','X ','ü ','ア'),"
        "(3,'b',NULL,NULL,NULL,NULL,NULL)",
        "CREATE TABLE old (w VARCHAR(30), PRIMARY KEY (w)) CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci",
        "INSERT INTO old VALUES ('ß'), ('x')",
    ],
    "spatial reference systems": [
        "CREATE TABLE t (id INT PRIMARY KEY, p POINT NOT NULL SRID 4326, q GEOMETRY SRID 0, r GEOMETRY,"
        " SPATIAL INDEX p_key (p))",
        "INSERT INTO t VALUES (1,ST_GeomFromText('POINT(52.5 13.4)', 4326),ST_GeomFromText('POINT(1 2)'),"
        "ST_GeomFromText('LINESTRING(0 0,90 -180)', 4326)),(2,ST_GeomFromText('POINT(-90 180)', 4326),NULL,NULL)",
    ],
    "tables of other kinds": [
        "CREATE TABLE parted (id INT, v INT, PRIMARY KEY (id)) PARTITION BY RANGE (id) "
        "(PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "INSERT INTO parted VALUES (5,1),(50,2),(-5,3)",
        "CREATE TABLE hashed (id INT, v INT) PARTITION BY KEY (id) PARTITIONS 3",
        "INSERT INTO hashed VALUES (1,1),(2,2),(2,2),(NULL,3)",
        "CREATE TABLE isam (id INT PRIMARY KEY, v VARCHAR(9), KEY (v)) ENGINE=MyISAM",
        "INSERT INTO isam VALUES (2,'b'),(1,'a')",
        "SET sql_generate_invisible_primary_key = 1",
        "CREATE TABLE keyed_unseen (v VARCHAR(9))",
        "INSERT INTO keyed_unseen VALUES ('a'), ('a'), (NULL)",
        "SET sql_generate_invisible_primary_key = 0",
    ],
    "views of its own": [
        "CREATE TABLE t (id INT PRIMARY KEY, parent INT, j JSON)",
        """INSERT INTO t VALUES (1,NULL,'[1, 2]'),(2,1,'[3]'),(3,2,NULL)""",
        "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW checked AS SELECT id FROM t WHERE id > 1"
        " WITH LOCAL CHECK OPTION",
        "CREATE VIEW tree AS WITH RECURSIVE up AS (SELECT id, parent, 0 AS depth FROM t WHERE parent IS NULL UNION ALL"
        " SELECT t.id, t.parent, depth + 1 FROM t JOIN up ON t.parent = up.id) SELECT * FROM up",
        "CREATE DEFINER='root'@'%' VIEW elements AS SELECT t.id, x.n, ROW_NUMBER() OVER (PARTITION BY t.id) AS place"
        " FROM t, JSON_TABLE(t.j, '$[*]' COLUMNS (n INT PATH '$')) AS x",
    ],
}


CASES = {"mariadb": SCHEMAS | MARIADB_ONLY, "mysql": SCHEMAS | MYSQL_ONLY}


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.cases(CASES)
def test_every_kind_of_table_comes_back_the_same(
    server: Server, new_database: Callable[[], str], case: str, connections: int
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, CASES[server.flavour][case])
    assert_round_trip(server, source, target, connections)


def test_text_of_every_charset_comes_back_byte_for_byte(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    known = {row[0] for row in server.run("SHOW CHARACTER SET")}
    statements = []
    for charset in [name for name in SINGLE_BYTE if name in known]:
        statements.append(f"CREATE TABLE {charset} (id INT PRIMARY KEY, c VARCHAR(9), t TEXT) CHARACTER SET {charset}")
        rows = ", ".join(f"({byte}, X'{byte:02X}', X'41{byte:02X}42')" for byte in range(256))
        statements.append(f"INSERT INTO {charset} VALUES {rows}")
    for charset, values in MULTI_BYTE.items():
        if charset in known:
            statements.append(f"CREATE TABLE {charset} (id INT PRIMARY KEY, c VARCHAR(9)) CHARACTER SET {charset}")
            statements += [f"INSERT INTO {charset} VALUES ({n}, X'{v}')" for n, v in enumerate(values)]
    fill(server, source, statements)
    assert_round_trip(server, source, target, 2)


def test_charsets_side_by_side_in_one_row_do_not_disturb_each_other(
    server: Server, new_database: Callable[[], str]
) -> None:
    source, target = new_database(), new_database()
    charsets = ["latin1", "utf16", "cp1251", "utf8mb3", "ascii", "utf8mb4", "binary", "big5"]
    columns = ", ".join(f"{name}_ TEXT CHARACTER SET {name}" for name in charsets if name != "binary")
    statements = [
        f"CREATE TABLE t (id INT PRIMARY KEY, bits BIT(9), raw VARBINARY(9), {columns},"
        " bin VARCHAR(9) COLLATE utf8mb4_bin, gen VARCHAR(9) COLLATE utf8mb4_general_ci)",
        "INSERT INTO t VALUES (1, b'101', X'FF00', X'E4', X'00E4', X'C0', 'ä', 'a', '😀', X'A55C', 'ä', 'ö')",
        "INSERT INTO t (id) VALUES (2)",
    ]
    fill(server, source, statements)
    assert_round_trip(server, source, target, 2)
