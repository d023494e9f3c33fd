"""What a restore tells of APP_SECRET: whose is in force, what that means, and how to mend it; never the secret."""

from typing import Any

import pytest

from sidecar.errors import Unreachable
from sidecar.kimai.environment import AppSecret
from sidecar.restore_job import Report
from sidecar.whose_secret import foresee, tell

FILE = "var/data/.appsecret"


class Kimai:
    def __init__(self, now: AppSecret | Exception | None, *, mirrors: bool = True) -> None:
        self._now = now
        self.mirrors_secret = mirrors

    def app_secret(self) -> AppSecret | None:
        if isinstance(self._now, Exception):
            raise self._now
        return self._now


class Source:
    """A backup of ours whose manifest says that of its secret."""

    files = ()

    def __init__(self, source: str | None, fingerprint: str | None) -> None:
        self.manifest = type("Manifest", (), {"app_secret": fingerprint, "app_secret_source": source})


def told(now: Any, source: Any, *, mirrors: bool = True) -> Report:
    report = Report("latest")
    kimai: Any = Kimai(now, mirrors=mirrors)
    tell(kimai, source, report)
    return report


def test_the_backups_own_is_a_step_and_no_note() -> None:
    report = told(AppSecret(FILE, "aa"), Source(FILE, "aa"))
    assert report.steps == [f"APP_SECRET in force comes from {FILE}, and is the backup's"]
    assert report.notes == []


@pytest.mark.parametrize(
    ("now", "backup", "mend"),
    [
        (AppSecret("environment", "bb"), (FILE, "aa"), "take APP_SECRET out of the environment"),
        (AppSecret("environment", "bb"), ("environment", "aa"), "the one in container.env of the zip"),
        (AppSecret("environment", "bb"), (".env", "aa"), "the one in .env of the zip"),
        (AppSecret(FILE, "bb"), ("environment", "aa"), "in the environment of Kimai's container"),
        (AppSecret(FILE, "bb"), (FILE, "aa"), f"the one in {FILE} of the zip"),
        (AppSecret(".env", "bb"), (".env", "aa"), "the one in .env of the zip"),
    ],
)
def test_another_one_is_noted_with_what_it_means_and_its_mend(
    now: AppSecret, backup: tuple[str, str], mend: str
) -> None:
    report = told(now, Source(*backup))
    assert report.steps == [f"APP_SECRET in force comes from {now.source}, and is not the backup's"]
    (note,) = report.notes
    assert "signed out of 'remember me'" in note
    assert mend in note


@pytest.mark.parametrize(
    ("now", "source"),
    [(AppSecret(FILE, None), Source(FILE, "aa")), (AppSecret(FILE, "aa"), Source(FILE, None)),
     (AppSecret(FILE, "aa"), Source(None, None))],
)  # fmt: skip
def test_what_nobody_knows_is_said_so(now: AppSecret, source: Any) -> None:
    report = told(now, source)
    assert "nobody knows whether it is the backup's" in report.steps[0]
    assert report.notes == []


def test_none_at_all_and_one_that_can_not_be_seen() -> None:
    assert "no APP_SECRET is in force" in told(None, Source(FILE, "aa")).notes[0]
    assert "can't be seen: no answer" in told(Unreachable("no answer"), Source(FILE, "aa")).notes[0]
    assert "can't be seen" in told(PermissionError(13, "denied"), Source(FILE, "aa")).notes[0]


@pytest.mark.parametrize(
    ("now", "backup", "mirrors", "words"),
    [
        (AppSecret("environment", "bb"), (FILE, "aa"), True, ["from environment is in force and not the backup's"]),
        (AppSecret("environment", "aa"), ("environment", "aa"), True, []),
        (AppSecret(FILE, "bb"), ("environment", "aa"), True, ["which has none"]),
        # A file of the backup's takes its place.
        (AppSecret(FILE, "bb"), (FILE, "aa"), True, []),
        (None, (".env", "aa"), False, []),
        (Unreachable("no answer"), (FILE, "aa"), True, []),
    ],
)
def test_what_is_sure_before_is_said_before_and_once(
    now: Any, backup: tuple[str, str], mirrors: bool, words: list[str]
) -> None:
    kimai: Any = Kimai(now, mirrors=mirrors)
    source: Any = Source(*backup)
    before = foresee(kimai, source)
    assert len(before) == len(words)
    assert all(word in line for word, line in zip(words, before, strict=True))
    if before:
        report = Report("latest", notes=list(before))
        tell(kimai, source, report)
        assert report.notes == before
