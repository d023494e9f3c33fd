"""Notifications by apprise to a real listener on loopback: taken, away, slow, refused, and apprise itself failing."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.report import log as logs
from sidecar.report import notify
from sidecar.secret import Secret, ping_url, service_url
from sidecar.values import service_urls
from tests.support.documents import ROOT
from tests.support.listener import Listener, closed_port, listening


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logs, "_redactor", logs.Redactor())


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def send(*urls: str, deadline: float = 20) -> list[str]:
    """What was wrong with each; nothing of it may show a secret."""
    secrets = [service_url(url) for url in urls]
    logs.hide(spelling for secret in secrets for spelling in secret.spellings())
    answers = notify.send(secrets, "a title", "a body: <b>*bold*</b> & ümlaut", "failure", deadline=deadline)
    assert "t0ken" not in str(answers)
    assert "pw4you" not in str(answers)
    return [answer.problem for answer in answers]


def test_it_arrives_as_it_is(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    assert send(listener.notify_url) == [""]
    [notice] = listener.notices
    assert (notice["title"], notice["message"], notice["type"]) == (
        "a title",
        "a body: <b>*bold*</b> & ümlaut",
        "failure",
    )
    assert caplog.text == ""


def test_each_url_has_its_answer(listener: Listener) -> None:
    down = f"json://127.0.0.1:{closed_port()}/t0ken-of-another"
    problems = send(down, listener.notify_url, "nosuchservice://t0ken-t0ken")
    assert problems[0]
    assert problems[1:] == ["", "apprise can't read this URL"]
    assert len(listener.notices) == 1


@pytest.mark.parametrize("status", [500, 403])
def test_a_refusal_is_told_with_its_number_and_apprise_adds_nothing_to_the_log(listener: Listener, status: int) -> None:
    listener.statuses = [status]
    with logs.tail(10) as lines:
        [problem] = send(listener.notify_url)
        logging.getLogger("another").warning("is heard")
    assert str(status) in problem
    assert len(listener.posts) == 1
    assert [line.split()[2:] for line in lines] == [["is", "heard"]]


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_a_failure_and_takes_nothing_elsewhere(listener: Listener, status: int) -> None:
    with listening() as other:
        listener.statuses, listener.location = [status], f"http://127.0.0.1:{other.port}/elsewhere"
        assert send(listener.notify_url) != [""]
        assert other.posts == []


@pytest.mark.slow
def test_one_that_never_answers_is_given_up_and_holds_up_no_other(listener: Listener) -> None:
    send(listener.notify_url)
    with listening() as slow:
        slow.hangs = True
        began = time.monotonic()
        problems = send(f"{slow.notify_url}?rto=60", listener.notify_url, deadline=2)
        assert time.monotonic() - began < 10
    assert problems == ["no answer within 2 s", ""]


@pytest.mark.slow
def test_one_that_never_answers_keeps_no_process_from_ending(listener: Listener) -> None:
    listener.hangs = True
    program = (
        "import sys; from sidecar.report import notify; from sidecar.secret import service_url\n"
        "print(notify.send([service_url(sys.argv[1])], 't', 'b', 'warning', deadline=6)[0].problem)"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, f"{listener.notify_url}?rto=60"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == "no answer within 6 s\n"
    assert time.monotonic() - began < 30
    assert len(listener.posts) == 1


def test_whatever_apprise_raises_is_an_answer(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise

    def broken(*_: object, **__: object) -> None:
        raise KeyError("t0ken-of-the-notifier")

    monkeypatch.setattr(apprise.Apprise, "notify", broken)
    assert send(listener.notify_url) == ["KeyError: '***'"]


def test_urls_are_read_without_sending(listener: Listener) -> None:
    urls = service_urls(f"{listener.notify_url} nosuchservice://t0ken-t0ken, tgram://t0ken-t0ken")
    assert [tuple(answer) for answer in notify.read(urls)] == [
        ("json://***", ""),
        ("nosuchservice://***", "apprise can't read this URL"),
        ("tgram://***", "apprise can't read this URL"),
    ]
    assert listener.posts == []


def test_the_urls_that_the_readme_shows_can_be_read() -> None:
    shown = re.search(r"^export NOTIFY_URLS='(.*)'$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert shown
    assert [answer.problem for answer in notify.read(service_urls(shown[1]))] == ["", ""]


@pytest.mark.slow
def test_nothing_is_written_to_disk(listener: Listener, tmp_path: Path) -> None:
    """The root file system of the container can't be written to, and nothing of it is missed."""
    program = (
        "import sys, json; from sidecar.report import notify; from sidecar.secret import service_url\n"
        "import os; writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT\n"
        "def look(event, args):\n"
        "    if event in ('os.mkdir', 'os.rename') or event == 'open' and args[2] & writing:\n"
        "        print(json.dumps(str(args[0])))\n"
        "sys.addaudithook(look)\n"
        "answers = notify.send([service_url(url) for url in sys.argv[1:]], 't', 'b', 'warning')\n"
        "sys.exit(len([answer for answer in answers if answer.problem]))"
    )
    matrix = f"matrix://someone:pw4you@127.0.0.1:{listener.port}/#room"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, listener.notify_url, matrix],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")},
    )
    written = [json.loads(line) for line in done.stdout.splitlines()]
    assert [path for path in written if path != "/dev/null"] == []
    assert done.returncode == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_long_for_a_service_is_cut_and_not_refused() -> None:
    service = notify._service("discord://1234567890/abcdefghij")
    assert service is not None
    assert service.overflow_mode.value == "truncate"
    own = notify._service("discord://1234567890/abcdefghij?overflow=split")
    assert own is not None
    assert own.overflow_mode.value == "split"


def test_a_short_password_is_hidden_too() -> None:
    assert "pw4u" in service_url("mailto://me:pw4u@example.com").spellings()
    assert str(Secret("x")) == "***"


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("ntfys://ntfy.example.org/kimai-backup", ["ntfy.example.org", "kimai-backup"]),
        ("json://someone:pw4you@localhost:8080/kimai", ["localhost"]),
        ("json://192.168.100.200/t0ken-t0ken", ["192.168.100.200"]),
        (
            "mailtos://me:s3cr%40t@mail.example.com?to=you@office.example.com",
            ["mail.example.com", "office.example.com"],
        ),
    ],
)
def test_what_is_no_secret_stays_readable(url: str, plain: list[str]) -> None:
    assert set(plain).isdisjoint(service_url(url).spellings())


@pytest.mark.parametrize(
    ("url", "tokens"),
    [
        (
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            ["T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ"],
        ),
        ("line://abcdefghijkl", ["abcdefghijkl"]),
        ("sendgrid://sg.abcdefgh.ijklmnop:me@example.com/you@example.com", ["sg.abcdefgh.ijklmnop"]),
        ("webexteams://SG.AbCdEfGh.ijklmnop", ["SG.AbCdEfGh.ijklmnop"]),
        ("ntfys://ntfy.example.org/topic-of-ours", ["topic-of-ours"]),
        ("json://a:p@secret.words@example.com/kimai-backup", ["p@secret.words", "secret.words"]),
        ("json://a:kimai-backup@example.com", ["kimai-backup"]),
        ("gotify://token.example.com/token-of-gotify", ["token-of-gotify"]),
    ],
)
def test_what_may_be_a_token_is_hidden(url: str, tokens: list[str]) -> None:
    assert set(tokens) <= set(service_url(url).spellings())


def test_a_ping_url_hides_its_key_and_not_the_name_of_the_check() -> None:
    found = ping_url("https://me:pw@hc.example.org:8443/4f6c2f0e-key/kimai-backup").spellings()
    assert "4f6c2f0e-key" in found
    assert {"hc.example.org", "kimai-backup"}.isdisjoint(found)
