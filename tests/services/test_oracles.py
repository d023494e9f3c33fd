"""What we dump, the native client loads; what native clients dump, we load: the same each time."""

from collections.abc import Callable

import pytest

from sidecar.database.load import Load
from tests.services.test_round_trip import CASES
from tests.support.engine import checksums, comparable, differences, dump_database, fill, load_database, session
from tests.support.servers import Server

BIG = [
    "CREATE TABLE kinds (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), UNIQUE KEY name_key (name))",
    """CREATE TABLE entries (id INT AUTO_INCREMENT PRIMARY KEY, kind_id INT, at DATETIME, note TEXT, rate DOUBLE,
    raw VARBINARY(40), total DECIMAL(10,2), doubled DOUBLE AS (rate * 2) VIRTUAL, KEY at_key (at, kind_id),
    CONSTRAINT fk FOREIGN KEY (kind_id) REFERENCES kinds (id) ON DELETE CASCADE)""",
    "INSERT INTO kinds (name) VALUES ('it''s'), ('ü😀'), ('\\\\;\\n--')",
    "INSERT INTO entries (kind_id, at, note, rate, raw, total) "
    "VALUES (1, '2026-01-01', 'a;\\n\\'b\\'', 0.1, X'00FF27', 1.5)",
    *["INSERT INTO entries (kind_id, at, note, rate, raw, total) SELECT 1 + id % 3, at + INTERVAL id DAY, "
      "CONCAT(note, id % 7), rate + id / 3, raw, total + id FROM entries"] * 12,
    "CREATE TRIGGER t BEFORE INSERT ON entries FOR EACH ROW BEGIN SET NEW.note = CONCAT(NEW.note, ';'); END",
    "CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC BEGIN RETURN x; END",
    "CREATE VIEW v AS SELECT kinds.name, COUNT(*) AS number FROM entries JOIN kinds ON kinds.id = kind_id GROUP BY 1",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01' DO DELETE FROM entries",
]  # fmt: skip
OPTIONS = {
    "default": [],
    "skip extended insert": ["--skip-extended-insert"],
    "complete insert": ["--complete-insert"],
    "without hex": ["--skip-hex-blob"],
    "skip opt": ["--skip-opt", "--create-options"],
    "no locks, no keys": ["--skip-add-locks", "--skip-disable-keys", "--no-autocommit"],
    "ordered": ["--order-by-primary", "--insert-ignore"],
    "replace": ["--replace", "--skip-comments"],
    "skip quote names": ["--skip-quote-names"],
}


@pytest.mark.cases(CASES)
def test_the_native_client_loads_what_we_dump(server: Server, new_database: Callable[[], str], case: str) -> None:
    source, target = new_database(), new_database()
    fill(server, source, CASES[server.flavour][case])
    sql, description = dump_database(server.url(source))
    server.native_load(target, sql)
    assert checksums(server, target) == checksums(server, source)
    assert comparable(server.native_dump(target), target) == comparable(server.native_dump(source), source)
    assert differences(server.url(target), description) == []


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_we_load_what_the_native_client_dumps(
    server: Server, new_database: Callable[[], str], options: list[str]
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, BIG)
    load_database(server.url(target), server.native_dump(source, *options), connections=3, chunk=70_001)
    assert checksums(server, target) == checksums(server, source)
    assert comparable(server.native_dump(target), target) == comparable(server.native_dump(source), source)
    assert differences(server.url(target), dump_database(server.url(source))[1]) == []


# MariaDB's client can't load what it dumps of a sequence in a default (it forgets to lock it), nor of history; MySQL's
# writes no SQL at all of rows without any value of their own.
UNLOADABLE = {"mariadb": ["sequences", "system versioned"], "mysql": ["all generated"]}
LOADABLE = {flavour: [name for name in cases if name not in UNLOADABLE[flavour]] for flavour, cases in CASES.items()}


@pytest.mark.cases(LOADABLE)
def test_we_load_what_the_native_client_dumps_of_each_kind(
    server: Server, new_database: Callable[[], str], case: str
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, CASES[server.flavour][case])
    native = server.native_dump(source)
    load_database(server.url(target), native)
    again = new_database()
    server.native_load(again, native)
    # A FLOAT loses digits in the client's text: what we load of that text is what the client loads of it.
    assert checksums(server, target) == checksums(server, again)
    assert comparable(server.native_dump(target), target) == comparable(server.native_dump(again), again)


MYSQLDUMP_9 = rb"""-- MySQL dump 10.13  Distrib 9.4.0, for Linux (x86_64)
--
-- Host: sqldb    Database: kimai
-- ------------------------------------------------------
-- Server version	9.4.0

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!50503 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;

DROP TABLE IF EXISTS `child`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE `child` (
  `id` int NOT NULL AUTO_INCREMENT,
  `parent_id` int DEFAULT NULL,
  `note` varchar(50) COLLATE utf8mb4_unicode_ci DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `parent_key` (`parent_id`),
  CONSTRAINT `fk` FOREIGN KEY (`parent_id`) REFERENCES `parent` (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `child` WRITE;
/*!40000 ALTER TABLE `child` DISABLE KEYS */;
INSERT INTO `child` VALUES (1,1,'it\'s; \\'),(2,99,'--\n/* \" */'),(3,NULL,_binary 'x');
/*!40000 ALTER TABLE `child` ENABLE KEYS */;
UNLOCK TABLES;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES' */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER `child_in` BEFORE INSERT ON `child` FOR EACH ROW BEGIN
  SET NEW.note = CONCAT(NEW.note, ';');
END */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
DROP TABLE IF EXISTS `parent`;
CREATE TABLE `parent` (`id` int NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB;
INSERT INTO `parent` VALUES (1),(2);
SET @saved_cs_client     = @@character_set_client;
/*!50001 CREATE VIEW `v` AS SELECT
 1 AS `id`*/;
SET character_set_client = @saved_cs_client;
/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;
DELIMITER ;;
/*!50003 SET time_zone             = 'SYSTEM' */ ;;
/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`%`*/ /*!50106 EVENT `tick` ON SCHEDULE EVERY 1 SECOND STARTS """ + (
    rb"""'2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO DELETE FROM child */ ;;
/*!50003 SET time_zone             = @save_time_zone */ ;;
DELIMITER ;
/*!50106 SET TIME_ZONE= @save_time_zone */ ;
DELIMITER ;;
CREATE DEFINER=`root`@`%` FUNCTION `f`(x INT) RETURNS int
    DETERMINISTIC
BEGIN RETURN x + 1; END ;;
DELIMITER ;
/*!50001 DROP VIEW IF EXISTS `v`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`%` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select f(`child`.`id`) AS `id` from `child` */;
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;
-- Dump completed on 2026-11-22 22:00:00
"""
)


@pytest.mark.parametrize("chunk", [1, 777, 1 << 20])
def test_we_load_what_mysqldump_writes(server: Server, new_database: Callable[[], str], chunk: int) -> None:
    target = new_database()
    sql = MYSQLDUMP_9
    loading = Load(lambda: session(server.url(target)), 2)
    try:
        # Its event removes each second what the load brings: one that is enabled too early is seen below.
        loading.run(sql[start : start + chunk] for start in range(0, len(sql), chunk))
    finally:
        loading.close()
    assert server.run(f"SELECT * FROM {target}.child ORDER BY id") == (
        [(1, 1, "it's; \\"), (2, 99, '--\n/* " */'), (3, None, "x")]
    )
    assert server.run(f"SELECT * FROM {target}.v ORDER BY 1") == [(2,), (3,), (4,)]
    assert server.run(f"SELECT COUNT(*) FROM {target}.parent") == [(2,)]
    triggers = f"FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='{target}'"
    assert server.run(f"SELECT SQL_MODE {triggers}") == [("ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES",)]
    events = server.run(f"SELECT EVENT_NAME, STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA='{target}'")
    assert events == [("tick", "DISABLED")]
    # Debian's MariaDB has no root@%: what was that user's is the loader's now, or nobody could use the table.
    if server.flavour == "mariadb":
        assert len(loading.loaded.warnings) == 4
        assert server.run(f"SELECT DEFINER {triggers}") == [("root@localhost",)]
        server.run(f"INSERT INTO {target}.child VALUES (7, 1, 'x')")
