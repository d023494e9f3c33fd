"""Cutting SQL that others wrote: the same statements however it is chunked, and never a cut inside a string."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.database.split import split
from sidecar.errors import Damaged, Refused
from tests.support.examples import examples

LARGEST = 1 << 20
BLANKS = b" \t\r\n\v\f"


def statements(*chunks: bytes, largest: int = LARGEST) -> list[bytes]:
    return list(split(chunks, largest=largest))


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


# --- What dump tools write --------------------------------------------------------------------------------------

MARIADB_DUMP = rb"""/*M!999999\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: kimai
-- ------------------------------------------------------

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;

DROP TABLE IF EXISTS `a;b`;
CREATE TABLE `a;b` (
  `id` int(11) NOT NULL COMMENT 'it''s; -- odd',
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
INSERT INTO `a;b` VALUES
(1,'x;\n/*'),
(2,'-- "it\'s" # `; \\');
-- Dump completed on 2026-11-22  1:02:03
"""
MARIADB_STATEMENTS = [
    b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */",
    b"/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */",
    b"DROP TABLE IF EXISTS `a;b`",
    b"CREATE TABLE `a;b` (\n  `id` int(11) NOT NULL COMMENT 'it''s; -- odd',\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB",
    rb"INSERT INTO `a;b` VALUES" + b"\n" + rb"(1,'x;\n/*')," + b"\n" + rb"""(2,'-- "it\'s" # `; \\')""",
]

MYSQLDUMP = rb"""-- MySQL dump 10.13  Distrib 9.7.0, for Linux (x86_64)
/*!50503 SET NAMES utf8mb4 */;
SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'ce5b1846-e6ca-11f1-bfc2-02fc00000001:1-7,
ce5b1846-e6ca-11f1-bfc2-02fc00000002:1-9';
LOCK TABLES `t` WRITE;
/*!40000 ALTER TABLE `t` DISABLE KEYS */;
INSERT INTO `t` VALUES (1,_binary '\0;\'"\\'),(2,'a');
UNLOCK TABLES;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES' */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW BEGIN
  SET NEW.a = CONCAT(';;', "it's"); -- don't; stop
  /* ;; */ SET @x = 1; # nor 'here ;;
END */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50106 DROP EVENT IF EXISTS `ev` */;
delimiter $$
/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `ev` ON SCHEDULE EVERY 1 DAY DO
BEGIN SELECT 1; END */ $$
DELIMITER ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select 1 AS `;` */;

-- Dump completed on 2026-11-22  1:02:03"""
MYSQL_STATEMENTS = [
    b"/*!50503 SET NAMES utf8mb4 */",
    b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'ce5b1846-e6ca-11f1-bfc2-02fc00000001:1-7,\n"
    b"ce5b1846-e6ca-11f1-bfc2-02fc00000002:1-9'",
    b"LOCK TABLES `t` WRITE",
    b"/*!40000 ALTER TABLE `t` DISABLE KEYS */",
    rb"""INSERT INTO `t` VALUES (1,_binary '\0;\'"\\'),(2,'a')""",
    b"UNLOCK TABLES",
    b"/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES' */",
    b"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW "
    b"BEGIN\n  SET NEW.a = CONCAT(';;', \"it's\"); -- don't; stop\n  /* ;; */ SET @x = 1; # nor 'here ;;\nEND */",
    b"/*!50003 SET sql_mode              = @saved_sql_mode */",
    b"/*!50106 DROP EVENT IF EXISTS `ev` */",
    b"/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `ev` ON SCHEDULE EVERY 1 DAY DO\n"
    b"BEGIN SELECT 1; END */",
    b"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n"
    b"/*!50001 VIEW `v` AS select 1 AS `;` */",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100, 1000, 100_000])
@pytest.mark.parametrize(
    ("dump", "expected"), [(MARIADB_DUMP, MARIADB_STATEMENTS), (MYSQLDUMP, MYSQL_STATEMENTS)], ids=["mariadb", "mysql"]
)
def test_a_dump_is_cut_into_its_statements_whatever_the_chunks(dump: bytes, expected: list[bytes], size: int) -> None:
    assert statements(*(dump[at : at + size] for at in range(0, len(dump), size))) == expected


def test_windows_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    plain = b"-- it's\nSET a = 1;\nDELIMITER ;;\nCREATE x;;\nDELIMITER ;\nSELECT ';\r\n';\n"
    windows = b"\xef\xbb\xbf" + plain.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert statements(windows) == statements(plain) == [b"SET a = 1", b"CREATE x", b"SELECT ';\r\n'"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a--b;\nc;\n", [b"a--b", b"c"]),
        (b"a -- b;\n;", [b"a -- b;"]),
        (b"a --\t;\n;", [b"a --\t;"]),
        (b"a --\x01;\n;", [b"a --\x01;"]),
        (b"a --;\nb;", [b"a --", b"b"]),
        (b"a # ;\n;b;", [b"a # ;", b"b"]),
        (b"a /* ; */ b /*/ ; */;", [b"a /* ; */ b /*/ ; */"]),
        (b"/* one */ # two\n-- three\n--\n/**/ a;", [b"a"]),
        (b"/*!50000 a ; b */;", [b"/*!50000 a ; b */"]),
        (b"2*/**/3; 4*5/6;", [b"2*/**/3", b"4*5/6"]),
        (b"`a``;`;b;", [b"`a``;`", b"b"]),
        (b"`a\\`;b;", [b"`a\\`", b"b"]),
        (b'"a"";";b;', [b'"a"";"', b"b"]),
        (b"'a'';';b;", [b"'a'';'", b"b"]),
        (rb"'\\';'\';';", [rb"'\\'", rb"'\';'"]),
        (b";;\n; a ;;", [b"a"]),
        (b"a;b;c;", [b"a", b"b", b"c"]),
        (b"delimitered; DELIMITER", [b"delimitered"]),
        (b"a delimiter b;", [b"a delimiter b"]),
        (b"DELIMITER //\na;b//\nDELIMITER ;\nc;", [b"a;b", b"c"]),
        (b"-- nothing\n", []),
        (b"", []),
    ],
)
def test_lexical_corners(text: bytes, expected: list[bytes]) -> None:
    if text.endswith(b"DELIMITER"):
        with pytest.raises(Refused, match="DELIMITER"):
            statements(text)
        text = text.removesuffix(b" DELIMITER")
    assert statements(text) == expected
    assert statements(*(bytes([byte]) for byte in text)) == expected


def test_a_backslash_in_a_name_is_no_escape_though_a_string_follows() -> None:
    """Taken for one, the name would swallow the string's opening quote, and the `;` in it end the statement."""
    text = b"SELECT `a\\` ' ` x ;\n GRANT ALL ON *.* TO x;\n', 1;\n"
    assert statements(text) == [text.removesuffix(b";\n")]


@pytest.mark.parametrize("comment", [b"-- %b\n", b"# %b\n", b"/* %b */"])
def test_a_long_comment_before_a_statement_is_dropped_though_it_comes_in_pieces(comment: bytes) -> None:
    text = comment % (b"it's; " * 100) + b"SELECT 1;"
    assert statements(*(text[at : at + 50] for at in range(0, len(text), 50))) == [b"SELECT 1"]


# --- Hostile and broken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t VALUES (1",
        b"INSERT INTO t VALUES ('a",
        b"INSERT INTO t VALUES ('a\\",
        b'SELECT "a;\n',
        b"SELECT `a;\n",
        b"SELECT 1 /* ;\n",
        b"/*!50001 CREATE VIEW v AS SELECT 1;\n",
        b"/* never closed",
        b"SELECT 1 -- no delimiter",
        b"a;\nDELIMITER ;;\nCREATE TRIGGER x;\n",
    ],
)
def test_text_that_ends_inside_something_is_cut_short(text: bytes) -> None:
    with pytest.raises(Damaged, match="cut short"):
        statements(text)


@given(st.integers(min_value=1, max_value=len(MYSQLDUMP) - len(b"\n\n-- Dump completed on 2026-11-22  1:02:03") - 1))
@settings(max_examples=examples(100))
def test_a_dump_cut_anywhere_gives_only_whole_statements(length: int) -> None:
    whole: list[bytes] = []
    try:
        for statement in split([MYSQLDUMP[:length]], largest=LARGEST):
            whole.append(statement)
    except (Damaged, Refused) as error:
        told = str(error)
    else:
        told = "DELIMITER"
    assert "cut short" in told or "DELIMITER" in told
    assert whole == MYSQL_STATEMENTS[: len(whole)]


def test_a_statement_over_the_limit_is_refused_with_its_size_before_it_is_all_read() -> None:
    def endless() -> Iterator[bytes]:
        yield b"INSERT INTO t VALUES ('"
        while True:
            yield b"x" * 1000

    with pytest.raises(Refused, match=r"[0-9]+ bytes or more, 50000 are allowed: INSERT INTO t VALUES"):
        list(split(endless(), largest=50_000))
    with pytest.raises(Refused, match="11 bytes"):
        statements(b"SELECT 1234;", largest=10)
    assert statements(b"SELECT 1234;", largest=11) == [b"SELECT 1234"]


def test_an_error_shows_no_string_of_the_statement() -> None:
    with pytest.raises(Damaged) as caught:
        statements(b"INSERT INTO users VALUES (1,'hunter2'")
    assert "INSERT INTO users VALUES" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"SET sql_mode='NO_BACKSLASH_ESCAPES';",
        b"/*!50003 SET sql_mode = 'STRICT_ALL_TABLES,no_backslash_escapes' */ ;;",
        b"set @a=1,\n@@session.SQL_MODE = 'NO_BACKSLASH_ESCAPES';",
    ],
)
def test_a_mode_in_which_strings_end_elsewhere_is_refused(text: bytes) -> None:
    with pytest.raises(Refused, match="NO_BACKSLASH_ESCAPES"):
        statements(text)


def test_text_that_only_mentions_the_mode_passes() -> None:
    assert len(statements(b"INSERT INTO t VALUES ('SET sql_mode=NO_BACKSLASH_ESCAPES');")) == 1


def test_under_ansi_quotes_a_backslash_in_double_quotes_is_refused_and_all_else_read_as_ever() -> None:
    mode = b"SET sql_mode='ANSI_QUOTES';"
    assert statements(mode + b"SELECT \"a;\n\", '\\';\n';\n")[1:] == [b"SELECT \"a;\n\", '\\';\n'"]
    with pytest.raises(Refused, match="backslash"):
        statements(mode + b'SELECT "a\\";\nDROP DATABASE kimai;\n";')


@pytest.mark.parametrize("delimiter", [b"", b"'", b"a'b", b"\\", b"-- x", b"/*", b"x" * 16, b"a b"])
def test_a_delimiter_that_could_be_taken_for_something_else_is_refused(delimiter: bytes) -> None:
    with pytest.raises(Refused, match="DELIMITER"):
        statements(b"DELIMITER " + delimiter + b"\nSELECT 1;")


def test_nested_versioned_comments_are_refused() -> None:
    with pytest.raises(Refused, match="versioned comment"):
        statements(b"/*!50000 SELECT /*!80000 1 */ */;")


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf16_is_named_as_what_it_is(mark: bytes) -> None:
    with pytest.raises(Refused, match="UTF-16"):
        statements(mark + "SELECT 1;".encode("utf-16-le"))


@pytest.mark.parametrize("filling", [b"x", b";\n", b"\\'", b"\\\\", b"''", b"\\n;\n", b"`", b'"', b"--", b"/*"])
def test_a_large_string_of_any_kind_is_read_once(filling: bytes) -> None:
    """Were any of these read again with each chunk, a million bytes in chunks of a hundred would not end in time."""
    text = b"INSERT INTO t VALUES ('" + filling * (1_000_000 // len(filling)) + b"')"
    chunks = [text[at : at + 100] for at in range(0, len(text), 100)]
    assert statements(*chunks, b";\nSELECT 1;\n", largest=2_000_000) == [text, b"SELECT 1"]


def test_memory_stays_at_a_few_copies_of_the_largest_statement() -> None:
    size = 8 << 20
    piece = b"(1,'" + b"\\n;x" * 1000 + b"'),\n"

    def chunks() -> Iterator[bytes]:
        yield b"INSERT INTO t VALUES "
        for _ in range(size // len(piece)):
            yield piece
        yield b"(2);\n"

    tracemalloc.start()
    try:
        for statement in split(chunks(), largest=2 * size):
            assert len(statement) > size - len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * size


# --- Against a lexer that is too simple to be wrong -------------------------------------------------------------


def one_byte_at_a_time(text: bytes) -> tuple[list[bytes], bool]:
    """The same rules, read byte by byte: the statements, and whether the text is whole."""
    found: list[bytes] = []
    start = at = 0
    state = ""
    versioned = False
    while at < len(text):
        byte, two = text[at : at + 1], text[at : at + 2]
        if state in ("'", '"'):
            if byte == b"\\":
                at += 1
            elif byte == state.encode():
                state = ""
        elif state == "`":
            state = "" if byte == b"`" else state
        elif state == "line":
            state = "" if byte == b"\n" else state
        elif state == "block":
            if two == b"*/":
                state = ""
                at += 1
        elif byte in (b"'", b'"', b"`"):
            state = byte.decode()
        elif byte == b"#" or (two == b"--" and (at + 2 == len(text) or text[at + 2] <= 32 or text[at + 2] == 127)):
            state = "line"
        elif two == b"/*" and text[at + 2 : at + 3] == b"!":
            if versioned:
                return found, False
            versioned = True
            at += 2
        elif two == b"/*":
            state = "block"
            at += 1
        elif versioned and two == b"*/":
            versioned = False
            at += 1
        elif byte == b";" and not versioned:
            statement = without_leading(text[start : at + 1]).removesuffix(b";").rstrip(BLANKS)
            found += [statement] if statement else []
            start = at + 1
        at += 1
    tail = without_leading(text[start:])
    return found, not (tail or versioned or state in ("'", '"', "`", "block"))


def without_leading(text: bytes) -> bytes:
    while True:
        text = text.strip(BLANKS)
        if text.startswith(b"#") or (text.startswith(b"--") and (len(text) == 2 or text[2] <= 32)):
            text = text.partition(b"\n")[2]
        elif text.startswith(b"/*") and not text.startswith(b"/*!") and b"*/" in text[2:]:
            text = text[2:].partition(b"*/")[2]
        else:
            return text


SOUP = [b"'", b'"', b"`", b"\\", b";", b"\n", b"-", b"--", b"-- ", b" ", b"#", b"/", b"*", b"/*", b"*/", b"/*!", b"a"]
SOUP += [b",", b";\n", b"''", b"\\'", b'\\"', b"\\\\", b"\r", b"\0", b"\xff", b"'a'", b"'x;\n'", b"),(", b"b;\n"]


def outcome(chunks: list[bytes]) -> tuple[list[bytes], bool]:
    found: list[bytes] = []
    try:
        for statement in split(chunks, largest=LARGEST):
            found.append(statement)
    except (Damaged, Refused):
        return found, False
    return found, True


@given(st.lists(st.sampled_from(SOUP), max_size=30).map(b"".join), st.lists(st.integers(0, 1000), max_size=6))
@settings(max_examples=examples(1000))
def test_any_text_is_read_as_the_simplest_lexer_reads_it(text: bytes, places: list[int]) -> None:
    expected = one_byte_at_a_time(text)
    assert outcome([text]) == expected
    assert outcome(cut(text, places)) == expected


def literal(quote: bytes) -> st.SearchStrategy[bytes]:
    """A string of any bytes, escaped or with its quotes doubled."""

    def written(value: bytes, doubled: bool) -> bytes:
        value = value.replace(b"\\", b"\\\\")
        return quote + value.replace(quote, quote * 2 if doubled else b"\\" + quote) + quote

    return st.builds(written, st.binary(max_size=40) | st.sampled_from([b";\n", b"--", b"/*"]), st.booleans())


PIECES = st.one_of(
    literal(b"'"),
    literal(b'"'),
    st.binary(max_size=20).map(lambda name: b"`" + name.replace(b"`", b"``") + b"`"),
    st.sampled_from(
        [b"INSERT INTO", b"1,", b"(", b")", b"-1", b"=", b"_binary", b"/* ; ' */", b"# it's;\n", b'-- "\n']
    ),
    st.sampled_from([b"/*!40101 x */", b"/*M!100100 ' ' */", b"/*!50003 ; */"]),
)
STATEMENTS = st.lists(PIECES, min_size=1, max_size=12).map(lambda pieces: b"X " + b" ".join(pieces).rstrip() + b"\n\tY")


@given(
    st.lists(st.tuples(STATEMENTS, st.sampled_from([b";", b"$$", b"//"])), max_size=8),
    st.sampled_from([b"\n", b"", b"\n-- it's a comment;\n", b" /* ; ' */ "]),
    st.lists(st.integers(0, 5000), max_size=8),
)
@settings(max_examples=examples(300))
def test_statements_put_together_come_apart_again(
    written: list[tuple[bytes, bytes]], between: bytes, places: list[int]
) -> None:
    text = b""
    expected = []
    for statement, delimiter in written:
        if delimiter != b";" and delimiter in statement:
            delimiter = b";"
        if delimiter == b";":
            text += statement + b";" + between
        else:
            text += b"\nDelimiter " + delimiter + b"\n" + statement + delimiter + b"\nDELIMITER ;\n" + between
        expected.append(statement)
    assert statements(*cut(text, places)) == expected
