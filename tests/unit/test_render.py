"""Each type of column has an expression that the server renders it by; what is unknown is refused, not guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.database.render import END_OF_ROW, escape, insert_head, quote_value, row_expression, value_expression
from sidecar.database.tables import Column, Table
from sidecar.errors import KimaiBackupError


def column(
    kind: str, *, charset: str | None = None, nullable: bool = True, name: str = "c", generated: bool = False
) -> Column:
    return Column(name, kind, kind, charset, nullable, generated)


@pytest.mark.parametrize(
    ("of", "expression"),
    [
        (column("int"), "IFNULL(`c`, 'NULL')"),
        (column("int", nullable=False), "`c`"),
        (column("double", nullable=False), "IF(`c` = 0, CONCAT(`c`, 'e0'), `c`)"),
        (column("float", nullable=False), "IF(`c` = 0, CONCAT(CAST(`c` AS DOUBLE), 'e0'), CAST(`c` AS DOUBLE))"),
        (column("varchar", charset="utf8mb4"), "QUOTE(CONVERT(`c` USING binary))"),
        (column("varchar", charset="cp932", nullable=False), "CONCAT('_cp932 X''', HEX(`c`), '''')"),
        (column("blob"), "IF(`c` IS NULL, 'NULL', CONCAT('X''', HEX(`c`), ''''))"),
        (column("bit", nullable=False), "CONCAT('b''', BIN(`c` + 0), '''')"),
        (column("enum", charset="utf8mb4"), "IF(`c` + 0 = 0, '0', QUOTE(CONVERT(`c` USING binary)))"),
        (column("date", name="a`b"), "QUOTE(`a``b`)"),
    ],
)
def test_the_expression_of_each_type(of: Column, expression: str) -> None:
    assert value_expression(of) == expression


def test_a_type_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(KimaiBackupError, match="column c has the type quantum"):
        value_expression(column("quantum"))


@given(st.binary(max_size=200))
def test_no_value_quoted_here_can_look_like_the_end_of_a_row(value: bytes) -> None:
    for kind, charset in (("longtext", "utf8mb4"), ("longblob", None), ("longtext", "latin1")):
        quoted = quote_value(column(kind, charset=charset), value)
        assert END_OF_ROW[1:] not in quoted
    assert b"'" not in escape(value).replace(b"\\\\", b"").replace(b"\\'", b"")


def test_null_is_not_a_text() -> None:
    assert quote_value(column("longtext", charset="utf8mb4"), None) == b"NULL"
    assert quote_value(column("longtext", charset="utf8mb4"), b"NULL") == b"'NULL'"


def test_generated_columns_are_in_no_insert() -> None:
    columns = (column("int", name="a"), column("int", name="made", generated=True), column("int", name="b`c"))
    table = Table("t`x", "InnoDB", columns, None, (), 0, versioned=False, definition={})
    assert insert_head(table) == b"INSERT INTO `t``x` (`a`, `b``c`) VALUES\n("
    assert "made" not in row_expression(table)
