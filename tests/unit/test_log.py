import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Interrupted
from sidecar.report import log

SECRET = "s3cr3t/with+odd \"chars' and %-ü"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("sidecar")
    before = (list(root.handlers), root.level, ours.level)
    monkeypatch.setattr(log, "_redactor", log.Redactor())
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def one_json_line(stream: io.StringIO) -> dict[str, str]:
    line: dict[str, str] = json.loads(stream.getvalue())
    return line


def test_a_terminal_gets_a_line_for_people_in_utc() -> None:
    stream = Terminal()
    log.configure("info", "auto", stream=stream)
    logging.getLogger("sidecar.backup").info("packed %d files", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info    packed 3 files\n", stream.getvalue())


def test_elsewhere_it_is_a_json_object_a_line() -> None:
    stream = io.StringIO()
    log.configure("info", "auto", stream=stream, run_id="r1")
    logging.getLogger("sidecar.backup").warning("line one\nline two ü")
    assert stream.getvalue().count("\n") == 1
    line = one_json_line(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "sidecar.backup",
        "message": "line one\nline two ü",
        "run_id": "r1",
    }


@pytest.mark.parametrize(("form", "stream"), [("text", io.StringIO()), ("json", Terminal())])
def test_the_format_can_be_fixed_whatever_the_stream_is(form: log.Format, stream: io.StringIO) -> None:
    log.configure("info", form, stream=stream)
    logging.getLogger("sidecar").info("here")
    assert stream.getvalue().startswith("{") is (form == "json")


def test_the_level_is_kept() -> None:
    stream = io.StringIO()
    log.configure("warning", "text", stream=stream)
    logging.getLogger("sidecar.backup").info("hidden by level")
    logging.getLogger("sidecar.backup").warning("shown")
    assert "shown" in stream.getvalue()
    assert "hidden" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "shown"),
    [("info", ["warning", "error"]), ("error", ["error"]), ("debug", ["debug", "info", "warning", "error"])],
)
def test_libraries_are_no_louder_than_warnings_but_at_debug(level: log.Level, shown: list[str]) -> None:
    stream = io.StringIO()
    log.configure(level, "json", stream=stream)
    library = logging.getLogger("botocore.endpoint")
    for name in ("debug", "info", "warning", "error"):
        getattr(library, name)("told")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == shown


def test_a_second_configure_takes_the_place_of_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure("info", "text", stream=first)
    log.configure("info", "text", stream=second)
    logging.getLogger("sidecar").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def test_handlers_of_others_stay() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    log.configure("info", "text", stream=io.StringIO())
    assert other in logging.getLogger().handlers


def test_without_a_stream_it_follows_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    log.configure("info", "text")
    later = io.StringIO()
    monkeypatch.setattr(sys, "stderr", later)
    logging.getLogger("sidecar").info("to the new one")
    assert "to the new one" in later.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("spelling", [SECRET, quote(SECRET), quote(SECRET, safe=""), quote(SECRET, safe="").lower()])
def test_a_secret_is_hidden_in_every_spelling(form: log.Format, spelling: str) -> None:
    stream = io.StringIO()
    log.configure("info", form, stream=stream, secrets=[SECRET])
    logging.getLogger("sidecar").info("can't connect to mysql://kimai:%s@db/kimai", spelling)
    assert "mysql://kimai:***@db/kimai" in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_is_hidden_in_a_traceback(form: log.Format) -> None:
    stream = io.StringIO()
    log.configure("debug", form, stream=stream, secrets=[SECRET])
    try:
        int(SECRET)
    except ValueError:
        logging.getLogger("sidecar").exception("it broke")
    assert "Traceback" in stream.getvalue()
    assert "***" in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()


def test_a_traceback_shows_at_debug_alone() -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream=stream)
    try:
        int("seven")
    except ValueError:
        logging.getLogger("sidecar").exception("it broke")
    line = one_json_line(stream)
    assert (line["message"], line["error"]) == (
        "it broke",
        "ValueError: invalid literal for int() with base 10: 'seven'",
    )


def test_secrets_learnt_later_are_hidden_from_then_on() -> None:
    stream = io.StringIO()
    log.configure("info", "text", stream=stream, secrets=["the-first-one"])
    log.hide(["the-second-one"])
    logging.getLogger("sidecar").info("the-first-one, the-second-one")
    assert stream.getvalue().endswith("***, ***\n")


def test_a_key_file_is_hidden_line_by_line() -> None:
    log.hide(["# made on a Monday\nAGE-SECRET-KEY-1ABCDEF\n\n"])
    assert log.redact("bad identity 'AGE-SECRET-KEY-1ABCDEF'") == "bad identity '***'"


def test_a_short_password_is_hidden_where_it_stands_alone_and_spares_names() -> None:
    log.hide(["kimai"])
    assert log.redact("password kimai for root:kimai@db") == "password *** for root:***@db"
    assert log.redact("kimai_demo_2.66.0 by kimai-backup") == "kimai_demo_2.66.0 by kimai-backup"


def test_a_secret_that_begins_like_another_leaves_nothing_behind() -> None:
    log.hide(["password", "password-and-more"])
    assert log.redact("password-and-more") == "***"


def test_a_signal_that_comes_while_a_line_is_written_still_ends_the_run() -> None:
    class Interrupting(io.StringIO):
        def flush(self) -> None:
            raise Interrupted("interrupted by SIGTERM")

    log.configure("info", "text", Interrupting())
    with pytest.raises(Interrupted):
        logging.getLogger("sidecar.test").warning("a line")


def test_an_empty_secret_hides_nothing() -> None:
    log.hide(["", "\n"])
    assert log.redact("plain text") == "plain text"


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    stream = Terminal()
    log.configure("info", "auto", stream=stream)
    logging.getLogger("sidecar").info("server says: %s", "\x1b[2Jgone\rover\x9b1m")
    assert "\\x1b[2Jgone\\x0dover\\x9b1m\n" in stream.getvalue()


@given(
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=8).filter(lambda text: not set(text) & set("*")),
    before=st.text(max_size=10),
    after=st.text(max_size=10),
)
def test_no_long_secret_is_ever_left_in_a_text(secret: str, before: str, after: str) -> None:
    redactor = log.Redactor()
    redactor.hide([secret])
    for spelling in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
        assert secret not in redactor.redact(f"{before}{spelling}{after}")


def test_the_error_that_a_run_ends_with_bears_its_id() -> None:
    logging.getLogger().handlers.clear()
    assert "run_id" not in json.loads(log.json_line("can't begin"))
    log.configure("info", "json", stream=io.StringIO(), run_id="r1")
    assert json.loads(log.json_line("no answer"))["run_id"] == "r1"
