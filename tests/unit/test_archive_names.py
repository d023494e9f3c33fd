from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.archive.names import escape_name, link_stays_inside, safe_path, unescape_name
from sidecar.errors import Damaged

COMPONENT = st.one_of(
    st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")),
    st.text("aA%25CcFf:\\\n é", min_size=1, max_size=8).map(str.encode),
).filter(lambda name: name not in (b"", b".", b".."))
NAMES = st.lists(COMPONENT, min_size=1, max_size=4).map(b"/".join)


@settings(deadline=None)
@given(NAMES)
def test_every_name_of_a_file_comes_back_exactly_and_is_safe(name: bytes) -> None:
    text = escape_name(name)
    assert unescape_name(text) == name
    assert str(safe_path(text)) == text
    text.encode()


@settings(deadline=None)
@given(NAMES, NAMES)
def test_no_two_names_are_written_alike(one: bytes, other: bytes) -> None:
    assert (escape_name(one) == escape_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("var/data/Rechnung Müller 😀.pdf".encode(), "var/data/Rechnung Müller 😀.pdf"),
        (b"100% sure", "100% sure"),
        (b"a%20b", "a%2520b"),
        (b"bad\xff 5%", "bad%FF 5%25"),
        (b"back\\slash", "back%5Cslash"),
        (b"new\nline", "new%0Aline"),
        (b"C:/x", "C%3A/x"),
        (b"var/data/C:x", "var/data/C:x"),
        (b"\xed\xa0\x80", "%ED%A0%80"),
    ],
)
def test_names_are_escaped_only_where_they_must_be(name: bytes, text: str) -> None:
    assert escape_name(name) == text


HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "//host/share",
    "../evil",
    "var/../../evil",
    "var/..",
    "..",
    ".",
    "./a",
    "a//b",
    "a//",
    "a/./b",
    "C:/evil",
    "c:evil",
    "var\\..\\evil",
    "\\\\host\\share",
    "a\0b",
    "a\nb",
    "a\x1b[2J",
    "\ud800",
    "a" * 256,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_not_one_plain_relative_path_is_refused(name: str) -> None:
    with pytest.raises(Damaged):
        safe_path(name)


@settings(deadline=None)
@given(st.text("./\\a:\0C", max_size=12))
def test_no_accepted_name_leads_out(name: str) -> None:
    try:
        path = safe_path(name)
    except Damaged:
        return
    assert not path.is_absolute()
    assert path.parts
    assert ".." not in path.parts
    assert str(path) == name.removesuffix("/")


@pytest.mark.parametrize("target", [b"empty", b"sub/file", b"../logo.png", b"./x", b"../../config", b"x/"])
def test_a_link_to_below_the_root_stays_inside(target: bytes) -> None:
    assert link_stays_inside(PurePosixPath("var/data/link"), target)


@pytest.mark.parametrize("target", [b"", b"/etc/passwd", b"../../../etc", b"sub/../../../../etc", b"sub/.."])
def test_a_link_that_leads_out_or_could_is_told(target: bytes) -> None:
    assert not link_stays_inside(PurePosixPath("var/data/link"), target)


def test_a_chain_of_links_that_each_look_harmless_by_text_does_not_lead_out() -> None:
    # x/up leads to the root; going up from there would leave it, though the text `x/up/..` never does.
    assert link_stays_inside(PurePosixPath("x/up"), b"..")
    assert not link_stays_inside(PurePosixPath("door"), b"x/up/..")
