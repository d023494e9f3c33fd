"""Random values of every column type come back the same, by CHECKSUM TABLE."""

import datetime
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.engine import checksums, differences, dump_database, load_database, told
from tests.support.servers import Server

Literal = str


def _quoted(value: str) -> Literal:
    return "_utf8mb4 X'" + value.encode().hex() + "'"


def _hex(value: bytes) -> Literal:
    return "X'" + value.hex() + "'"


def _nullable(strategy: st.SearchStrategy[Literal]) -> st.SearchStrategy[Literal]:
    return st.one_of(st.just("NULL"), strategy)


def _integers(bits: int, signed: bool = True) -> st.SearchStrategy[Literal]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high).map(str)


def _floats(width: int, smallest: float) -> st.SearchStrategy[Literal]:
    # Denormal numbers are flushed or refused by some servers: no database holds them.
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=width, allow_subnormal=False)  # type: ignore[arg-type]
    normal = numbers.filter(lambda number: number == 0 or abs(number) >= smallest)
    return normal.map(lambda number: repr(number) + ("" if "e" in repr(number) else "e0"))


def _time(value: datetime.timedelta) -> Literal:
    micros = value // datetime.timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    seconds, micros = divmod(micros, 10**6)
    return f"'{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}'"


_WIDEST_TIME = datetime.timedelta(hours=838, minutes=59, seconds=59)
_MOMENTS = st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9999, 12, 31))  # noqa: DTZ001
_STAMPS = st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2038, 1, 18))  # noqa: DTZ001
_TEXT = st.text(max_size=60)
_NASTY = st.lists(st.sampled_from([*"'\"\\`\0\n\r\x1a;,()%_-#/*äß😀 \t", "),\n(", "\\'", ");\n", "NULL"]), max_size=30)
_STRINGS = st.one_of(_TEXT, _NASTY.map("".join)).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), _STRINGS.filter(str.isprintable)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abcäß'\"", max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
COLUMNS: dict[str, st.SearchStrategy[Literal]] = {
    "TINYINT": _integers(8),
    "SMALLINT UNSIGNED": _integers(16, signed=False),
    "MEDIUMINT": _integers(24),
    "INT": _integers(32),
    "BIGINT": _integers(64),
    "BIGINT UNSIGNED": _integers(64, signed=False),
    "DECIMAL(65,30)": st.decimals(-(10**34), 10**34, places=30).map(lambda d: f"{d:f}"),
    "DECIMAL(10,2)": st.decimals(-(10**7), 10**7, places=2).map(lambda d: f"{d:f}"),
    "FLOAT": _floats(32, 1.2e-38),
    "DOUBLE": _floats(64, 2.3e-308),
    "BIT(33)": st.integers(0, 2**33 - 1).map(lambda n: f"b'{n:b}'"),
    "BINARY(8)": st.binary(max_size=8).map(_hex),
    "VARBINARY(80)": st.binary(max_size=80).map(_hex),
    "LONGBLOB": st.binary(max_size=300).map(_hex),
    "CHAR(20)": _STRINGS.map(lambda text: _quoted(text[:20])),
    "VARCHAR(200)": _STRINGS.map(_quoted),
    "LONGTEXT": _STRINGS.map(_quoted),
    "TEXT CHARACTER SET latin1": st.binary(max_size=60).map(lambda raw: "_latin1 " + _hex(raw)),
    "TEXT CHARACTER SET cp1251": st.binary(max_size=60).map(lambda raw: "_cp1251 " + _hex(raw)),
    "TEXT CHARACTER SET utf16": _STRINGS.map(lambda text: "_utf16 " + _hex(text.encode("utf-16-be"))),
    "TEXT CHARACTER SET utf8mb3": _STRINGS.map(lambda text: _quoted("".join(c for c in text if ord(c) < 0x10000))),
    "ENUM('a','','it''s','ü')": st.integers(1, 4).map(str),
    "SET('x','y','ä','it''s')": st.integers(0, 15).map(str),
    "DATE": _MOMENTS.map(lambda moment: f"'{moment:%Y-%m-%d}'"),
    "TIME(6)": st.timedeltas(-_WIDEST_TIME, _WIDEST_TIME).map(_time),
    "DATETIME(6)": _MOMENTS.map(lambda moment: f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"),
    "TIMESTAMP(3) NULL DEFAULT NULL": _STAMPS.map(
        lambda moment: f"'{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}'"
    ),
    "YEAR": st.integers(1901, 2155).map(str),
    "JSON": _JSON.map(lambda value: _quoted(json.dumps(value, ensure_ascii=False))),
    "POINT": st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)).map(
        lambda point: f"ST_GeomFromText('POINT({point[0]:f} {point[1]:f})')"
    ),
}  # fmt: skip
_ROW = st.tuples(*[_nullable(strategy) for strategy in COLUMNS.values()])


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_random_values_of_every_type_come_back(server: Server, new_database: Callable[[], str], key: str) -> None:
    source, target = new_database(), new_database()
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(COLUMNS))
    server.run(f"CREATE TABLE {source}.t ({key}, {columns})")

    # No shrinking: each example is a dump and a load.
    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(rows=st.lists(_ROW, min_size=20, max_size=40))
    def goes_round(rows: list[tuple[Literal, ...]]) -> None:
        values = ",".join(f"({number},{','.join(row)})" for number, row in enumerate(rows))
        server.run(
            "SET sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00'",
            f"TRUNCATE TABLE {source}.t",
            f"DROP TABLE IF EXISTS {target}.t",
            f"INSERT INTO {source}.t VALUES {values}",
        )
        sql, description = dump_database(server.url(source), 1)
        assert told(load_database(server.url(target), sql, 1)) == []
        assert checksums(server, target) == checksums(server, source)
        assert differences(server.url(target), description) == []
        assert description.tables[0].rows == len(rows)

    goes_round()


def test_the_numbers_of_the_strategies_are_numbers() -> None:
    """A strategy that only ever gave NULL or zero would prove nothing."""
    drawn: list[Any] = []

    @settings(max_examples=50, deadline=None, database=None)
    @given(COLUMNS["DOUBLE"])
    def collect(text: str) -> None:
        drawn.append(float(text))

    collect()
    assert any(number not in (0, 1) and math.isfinite(number) for number in drawn)
