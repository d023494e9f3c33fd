"""What a server refuses of a dump: told apart by whether it speaks of the text itself, or of the server that it met."""

from collections.abc import Callable

import pytest

from sidecar.database.loaders import StatementRefused
from tests.support.engine import load_database
from tests.support.servers import Server


def table(name: str, *lines: str, options: str = "") -> str:
    return (
        f"CREATE TABLE `{name}` (\n  " + ",\n  ".join(lines) + f"\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4{options};\n"
    )


PARENT = table("p", "`id` int NOT NULL", "PRIMARY KEY (`id`)")


def child(kind: str = "int DEFAULT NULL", columns: str = "(`p`)", named: str = "(`id`)", then: str = "") -> str:
    key = f"CONSTRAINT `fk` FOREIGN KEY {columns} REFERENCES `p` {named}{then}"
    return table("c", "`id` int NOT NULL", f"`p` {kind}", "PRIMARY KEY (`id`)", "KEY `k` (`p`)", key)


def trigger(does: str, when: str = "BEFORE") -> str:
    return f"CREATE TRIGGER `r` {when} INSERT ON `t` FOR EACH ROW {does};\n"


def event(when: str) -> str:
    return f"CREATE EVENT `e` ON SCHEDULE {when} DO SET @a = 1;\n"


ONE = table("t", "`v` int DEFAULT NULL")
BY_RANGE = "\nPARTITION BY RANGE (`id`) (PARTITION `a` VALUES LESS THAN (9), PARTITION `{}` VALUES LESS THAN ({}))"
OF_THE_TEXT = {
    # Foreign keys
    "a key's column of another type": PARENT + child("bigint DEFAULT NULL"),
    "a key's column of another charset": table("p", "`id` varchar(9) CHARACTER SET latin1 NOT NULL", "KEY (`id`)")
    + child("varchar(9) DEFAULT NULL"),
    "a key to a column that is not there": PARENT + child(named="(`idd`)"),
    "a key of a column that is not there": PARENT + child(columns="(`q`)"),
    "a key to a column without an index": table("p", "`id` int", "`n` int", "KEY (`id`)") + child(named="(`n`)"),
    "a key of two columns to one": PARENT + child(columns="(`p`,`id`)"),
    "a key that sets to NULL what can't be": PARENT + child("int NOT NULL", then=" ON DELETE SET NULL"),
    # Columns and indexes
    "no SQL": table("t", "`v` int,", "`w` int"),
    "a column twice": table("t", "`v` int", "`v` int"),
    "an index twice": table("t", "`v` int", "KEY `k` (`v`)", "KEY `k` (`v`)"),
    "an index of a column that is not there": table("t", "`v` int", "KEY `k` (`w`)"),
    "two primary keys": table("t", "`v` int NOT NULL", "PRIMARY KEY (`v`)", "PRIMARY KEY (`v`)"),
    "an index on more of a column than there is": table("t", "`v` varchar(5)", "KEY `k` (`v`(9))"),
    "a name that is too long": table("t", f"`{'v' * 65}` int"),
    "a column's name that ends in a space": table("t", "`v ` int"),
    "a table's name that ends in a space": table("t ", "`v` int"),
    "an index of a reserved name": table("t", "`v` int", "KEY `PRIMARY` (`v`)"),
    "text that counts up": table("t", "`v` varchar(9) NOT NULL AUTO_INCREMENT", "KEY `k` (`v`)"),
    "a type that there is not": table("t", "`v` letters(5)"),
    "a default of another type": table("t", "`v` int DEFAULT 'x'"),
    "more decimals than digits": table("t", "`v` decimal(5,9)"),
    "a number that becomes now": table("t", "`v` int ON UPDATE CURRENT_TIMESTAMP"),
    "a full-text index of numbers": table("t", "`v` int", "FULLTEXT KEY `k` (`v`)"),
    "a spatial index with NULL": table("t", "`v` point DEFAULT NULL", "SPATIAL KEY `k` (`v`)"),
    "a check twice": table("t", "`v` int", "CONSTRAINT `x` CHECK (`v` > 1)", "CONSTRAINT `x` CHECK (`v` > 2)"),
    "a check of a column that is not there": table("t", "`v` int", "CONSTRAINT `x` CHECK (`w` > 1)"),
    # Partitions
    "a partition twice": table("t", "`id` int NOT NULL", options=BY_RANGE.format("a", 10)),
    "partitions in no order": table("t", "`id` int NOT NULL", options=BY_RANGE.format("b", 5)),
    "a row in no partition": table("t", "`id` int NOT NULL", options=BY_RANGE.format("b", 10))
    + "INSERT INTO `t` VALUES (10);\n",
    "partitions that a key does not know": table(
        "t", "`id` int NOT NULL", "`v` int NOT NULL", "PRIMARY KEY (`v`)", options=BY_RANGE.format("b", 10)
    ),
    # Values
    "bytes that are no character": table("t", "`v` varchar(9)") + "INSERT INTO `t` VALUES (_utf8mb4 0xFF);\n",
    "bytes that are no point": table("t", "`v` point") + "INSERT INTO `t` VALUES (0x00000000010100000000);\n",
    "a row twice": table("t", "`v` int NOT NULL", "PRIMARY KEY (`v`)") + "INSERT INTO `t` VALUES (1),(1);\n",
    "more values than columns": ONE + "INSERT INTO `t` VALUES (1,2);\n",
    # Code
    "a view of a column that is not there": ONE + "CREATE VIEW `w` AS SELECT `x` FROM `t`;\n",
    "a view of a column of two tables": ONE + "CREATE VIEW `w` AS SELECT `v` FROM `t` `a` JOIN `t` `b`;\n",
    "a view with more names than columns": ONE + "CREATE VIEW `w` (`a`, `b`) AS SELECT `v` FROM `t`;\n",
    "a view of queries that don't fit": "CREATE VIEW `w` AS SELECT 1 UNION SELECT 1, 2;\n",
    "a view of a variable": "CREATE VIEW `w` AS SELECT @a;\n",
    "a trigger twice": ONE + trigger("SET NEW.`v` = 1") * 2,
    "a trigger that changes what is written": ONE + trigger("SET NEW.`v` = 1", "AFTER"),
    "a trigger that answers": ONE + trigger("SELECT 1"),
    "a procedure twice": "CREATE PROCEDURE `r` () SET @a = 1;\n" * 2,
    "a way to no label": "CREATE PROCEDURE `r` () LEAVE `nowhere`;\n",
    "a cursor that is not there": "CREATE PROCEDURE `r` () OPEN `nowhere`;\n",
    "a variable twice": "DELIMITER ;;\nCREATE PROCEDURE `r` () BEGIN DECLARE a, a INT; END;;\nDELIMITER ;\n",
    "an event twice": event("EVERY 1 DAY") * 2,
    "an event of no day": event("EVERY 1 DAY STARTS '2036-13-01'"),
    "an event that never comes": event("EVERY 0 DAY"),
    "an event that ends before": event("EVERY 1 DAY STARTS '2036-01-01' ENDS '2035-01-01'"),
}
ON_MYSQL = {
    "a key to a column that is computed": table("p", "`id` int GENERATED ALWAYS AS (1) VIRTUAL", "KEY (`id`)")
    + child(),
    "a primary key with NULL": table("t", "`v` int NULL", "PRIMARY KEY (`v`)"),
    "a spatial index of numbers": table("t", "`v` int NOT NULL", "SPATIAL KEY `k` (`v`)"),
    "a value for what is computed": table("t", "`v` int", "`g` int GENERATED ALWAYS AS (`v`) STORED")
    + "INSERT INTO `t` VALUES (1,5);\n",
    "no JSON": table("t", "`v` json") + "INSERT INTO `t` VALUES ('{');\n",
    "cast, no JSON": table("t", "`v` json") + "INSERT INTO `t` VALUES (CAST('{' AS JSON));\n",
    "JSON of bytes": table("t", "`v` json") + "INSERT INTO `t` VALUES (_binary '{}');\n",
    "a point of another system": table("t", "`v` point /*!80003 SRID 4326 */")
    + "INSERT INTO `t` VALUES (0x00000000010100000000000000000000000000000000000000);\n",
    "a function without an end": "CREATE FUNCTION `r` () RETURNS INT DETERMINISTIC SET @a = 1;\n",
}
"""MariaDB takes these, or says the same as of other things."""
OF_THE_SERVER = {
    "a collation that it does not know": table("t", "`v` varchar(9) COLLATE utf8mb4_of_next_year"),
    "a variable that it does not know": ONE + trigger("SET @@of_next_year = 1"),
    "a row that is longer than it takes": table("t", "`v` varchar(16000)", "`w` varchar(16000)"),
    "more indexes than it takes": table("t", "`v` int", *(f"KEY `k{number}` (`v`)" for number in range(65))),
}


def refused(server: Server, database: str, sql: str) -> StatementRefused:
    with pytest.raises(StatementRefused) as caught:
        load_database(server.url(database), sql.encode())
    assert len(caught.value.what.splitlines()) == 1
    return caught.value


@pytest.mark.cases({"mariadb": OF_THE_TEXT, "mysql": OF_THE_TEXT | ON_MYSQL})
def test_what_any_server_would_refuse_speaks_of_the_dump(
    server: Server, new_database: Callable[[], str], case: str
) -> None:
    error = refused(server, new_database(), (OF_THE_TEXT | ON_MYSQL)[case])
    assert error.of_the_dump, error.what


@pytest.mark.parametrize("case", OF_THE_SERVER)
def test_what_another_server_may_take_does_not(server: Server, new_database: Callable[[], str], case: str) -> None:
    error = refused(server, new_database(), OF_THE_SERVER[case])
    assert not error.of_the_dump, error.what
