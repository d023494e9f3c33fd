"""Which keys of a table wait until after its rows, told from the text of SHOW CREATE TABLE alone."""

import pytest

from sidecar.database.keys import bare

CREATE = b"""CREATE TABLE `t``x` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `note` varchar(50) DEFAULT 'KEY `a` (`b`),' COMMENT '  KEY `no` (`no`)',
  `total` int(11) GENERATED ALWAYS AS (`id` + 1) VIRTUAL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`note`),
  KEY `k e``y` (`note`(10),`total`) USING BTREE COMMENT 'a, b',
  FULLTEXT KEY `f` (`note`),
  CONSTRAINT `fk` FOREIGN KEY (`total`) REFERENCES `p` (`id`) ON DELETE CASCADE,
  CONSTRAINT `positive` CHECK (`id` > 0)
) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COMMENT='x'"""


def test_secondary_indexes_and_foreign_keys_wait() -> None:
    table = bare(CREATE)
    assert table is not None
    assert table.name == b"`t``x`"
    assert table.indexes == (
        b"UNIQUE KEY `u` (`note`)",
        b"KEY `k e``y` (`note`(10),`total`) USING BTREE COMMENT 'a, b'",
        b"FULLTEXT KEY `f` (`note`)",
    )
    assert table.foreign_keys == (b"CONSTRAINT `fk` FOREIGN KEY (`total`) REFERENCES `p` (`id`) ON DELETE CASCADE",)
    assert table.create == CREATE.replace(b"  UNIQUE KEY `u` (`note`),\n", b"").replace(
        b"  KEY `k e``y` (`note`(10),`total`) USING BTREE COMMENT 'a, b',\n  FULLTEXT KEY `f` (`note`),\n", b""
    ).replace(b"  CONSTRAINT `fk` FOREIGN KEY (`total`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n", b"")


def test_lines_may_end_as_windows_does() -> None:
    table = bare(CREATE.replace(b"\n", b"\r\n"))
    assert table is not None
    assert len(table.indexes) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"  PRIMARY KEY (`id`),\n", b""),
        (b"PRIMARY KEY (`id`)", b"PRIMARY KEY (`note`)"),
        (b"ENGINE=InnoDB", b"ENGINE=MyISAM"),
        (b"COMMENT='x'", b"COMMENT='x' WITH SYSTEM VERSIONING"),
    ],
    ids=["no primary key", "AUTO_INCREMENT needs a key of its own", "MyISAM", "system versioned"],
)
def test_indexes_that_may_not_wait_stay_and_foreign_keys_still_wait(old: bytes, new: bytes) -> None:
    table = bare(CREATE.replace(old, new))
    assert table is not None
    assert table.indexes == ()
    assert b"UNIQUE KEY `u`" in table.create
    assert len(table.foreign_keys) == 1
    assert b"FOREIGN KEY" not in table.create


@pytest.mark.parametrize(
    "create",
    [
        b"CREATE TABLE `t` (`id` int NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB",
        b"CREATE TABLE t (\n  id int,\n  KEY (id)\n)",
        b"/*!50001 CREATE TABLE `v` (\n  `id` tinyint NOT NULL\n) ENGINE=MyISAM */",
        b"CREATE TABLE `t` (\n  `note` varchar(9) DEFAULT 'a\nb'\n) ENGINE=InnoDB",
        b"CREATE TABLE `t` (\n  `id` int,\n  SPATIAL INDEX x (id)\n) ENGINE=InnoDB",
        b"",
    ],
)
def test_a_text_of_another_shape_is_run_as_it_is(create: bytes) -> None:
    assert bare(create) is None
