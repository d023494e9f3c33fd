"""The page as text: what each state says, how much it weighs, and that nothing in it can do harm."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pytest

from sidecar.report import log as logs
from sidecar.report.web.page import AT_FIRST, Page
from sidecar.report.web.trend import bars
from sidecar.runs import KEEP_RUNS
from sidecar.status import Look, Status
from tests.support import statuses

VOID = {"meta", "link"}
OPTIONAL = {"tr", "th", "td", "dt", "dd"}


class Tree(HTMLParser):
    """Checks that every element is closed by its own name, but those that HTML closes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPTIONAL:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]


def render(status: Status, *, in_container: bool = True) -> str:
    return Page(in_container=in_container).render(status)


def text_of(html: str, pattern: str) -> str:
    match = re.search(pattern, html, re.DOTALL)
    assert match, pattern
    return " ".join(re.sub(r"<[^>]*>", "", match[1]).split())


@pytest.mark.parametrize(
    ("made", "state", "sentence"),
    [
        (
            statuses.healthy,
            "All is well",
            "The newest backup is 5 hours old and lies on local and s3; the next backup runs tomorrow at 01:10.",
        ),
        (
            statuses.failing,
            "Something is wrong",
            "The newest backup is 2 days old and lies on local; the next backup is tried again today at 07:07.",
        ),
        (
            statuses.tried_again,
            "The last backup failed",
            "The newest backup is 29 hours old and lies on local and s3;"
            " the next backup is tried again today at 07:07.",
        ),
        (
            statuses.empty,
            "No backup yet",
            "There is no backup on local and s3; the next backup runs tomorrow at 01:10.",
        ),
        (
            statuses.running,
            "Running now",
            "The newest backup is 5 hours old and lies on local and s3; a backup has been running for 3 minutes.",
        ),
        (
            statuses.unknown,
            "Not known yet",
            "The targets have not been looked at since the start; the next backup runs tomorrow at 01:10.",
        ),
    ],
)
def test_each_state_in_one_glance_and_one_sentence(made: Callable[[], Status], state: str, sentence: str) -> None:
    html = render(made())
    assert text_of(html, "<title>(.*?)</title>") == f"{state}: kimai-backup of kimai"
    assert text_of(html, "<h1>(.*?)</h1>") == state
    assert text_of(html, '<p class="sentence">(.*?)</p>') == sentence


def test_a_backup_that_missed_a_target_has_failed_and_one_told_to_end_or_that_lacked_something_has_not() -> None:
    look, night = statuses.healthy().look, statuses.NIGHT
    before, failed = statuses.run(night - timedelta(days=1)), statuses.failed_run(night)
    for last, state in (
        ([statuses.run(night, exit_code=3, targets=["local"], failed={"s3": "no answer"})], "The last backup failed"),
        ([statuses.run(night, exit_code=3)], "All is well"),
        ([statuses.run(night, exit_code=130)], "All is well"),
        ([failed, statuses.run(night + timedelta(minutes=10))], "All is well"),
        ([failed, statuses.run(night + timedelta(hours=1), exit_code=130)], "The last backup failed"),
    ):
        html = render(statuses.status(look=look, runs=[before, *last]))
        assert text_of(html, "<h1>(.*?)</h1>") == state


def test_what_is_wrong_comes_before_what_runs() -> None:
    status = statuses.running()
    wrong = statuses.status(look=status.look, running=status.running, problems=["a backup hangs"])
    html = render(wrong)
    assert text_of(html, "<h1>(.*?)</h1>") == "Something is wrong"
    assert "has been running for 3 minutes" in html
    assert "<li>a backup hangs</li>" in html


@pytest.mark.parametrize(
    ("in_container", "command"),
    [(True, "docker compose exec backup kimai-backup backup"), (False, "kimai-backup backup")],
)
def test_where_there_is_no_backup_the_command_that_makes_one_is_shown(*, in_container: bool, command: str) -> None:
    assert f"<code>{command}</code>" in render(statuses.empty(), in_container=in_container)
    assert f"<code>{command}</code>" not in render(statuses.healthy(), in_container=in_container)


def test_nothing_scheduled_is_said() -> None:
    assert "; nothing is scheduled." in render(statuses.status(look=statuses.healthy().look, nexts=()))


@pytest.mark.parametrize(
    "made",
    [
        statuses.healthy,
        statuses.failing,
        statuses.tried_again,
        statuses.empty,
        statuses.running,
        statuses.unknown,
    ],
)
def test_the_html_is_well_formed_and_needs_nothing_inline_or_outside(made: Callable[[], Status]) -> None:
    tree = Tree()
    html = render(made())
    tree.feed(html)
    assert not tree.open
    assert not [each for each in tree.attributes if each[1] == "style" or each[1].startswith("on")]
    links = [value or "" for tag, name, value in tree.attributes if name in {"href", "src"}]
    assert links
    assert all(re.match(r"(#|static/|metrics$|healthz$)", link) for link in links), links
    identifiers = [value for _, name, value in tree.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    assert {link[1:] for link in links if link.startswith("#")} <= set(identifiers)


def test_each_backup_has_the_command_that_brings_it_back() -> None:
    status = statuses.healthy()
    assert status.look
    ids = [backup.id for shelf in status.look.shelves for backup in shelf.backups]
    for in_container, command in ((True, "docker compose run --rm restore"), (False, "kimai-backup restore")):
        shown = re.findall(r"<code>([^<]*restore kimai_[^<]*)</code>", render(status, in_container=in_container))
        assert shown == [f"{command} {each}" for each in ids]


def test_an_encrypted_one_is_brought_back_with_the_key_that_is_kept_elsewhere() -> None:
    shelf = statuses.shelf_of("prod", "2.66.0", "local")
    status = statuses.status(look=Look(taken_at=statuses.NOW, shelves=[shelf]))
    for in_container, command in (
        (
            True,
            'docker compose run --rm --volume "$PWD/key.txt:/key.txt:ro" --env BACKUP_IDENTITY_FILE=/key.txt restore',
        ),
        (False, "BACKUP_IDENTITY_FILE=key.txt kimai-backup restore"),
    ):
        [shown] = re.findall(r"<code>([^<]*restore kimai_[^<]*)</code>", render(status, in_container=in_container))
        assert unescape(shown) == f"{command} {shelf.backups[0].id}"


def test_the_newest_are_shown_and_the_rest_is_there_when_asked_for() -> None:
    html = render(statuses.large())
    first, _, rest = html.partition("more, older ones</summary>")
    assert first.count('<tr><th scope="row">2026-11-23') == 4
    assert first.count("<button>") == AT_FIRST
    assert rest.count("docker compose run") > 900
    assert "950 more, older ones" in html
    assert "1,950 more, older ones" in html


def test_markup_in_what_is_shown_stays_text() -> None:
    nasty = "<script>alert(1)</script>\"' onload=x"
    shelf = statuses.shelf("local", statuses.nights(3))
    backup = shelf.backups[0]
    backups = [type(backup)(**{**{f: getattr(backup, f) for f in backup.__struct_fields__}, "reasons": [nasty]})]
    look = Look(taken_at=statuses.NOW, shelves=[type(shelf)(target=nasty, backups=backups, strays=[nasty])])
    status = statuses.status(
        instance=nasty,
        problems=[nasty],
        look=look,
        log=[nasty],
        runs=[statuses.run(statuses.NIGHT, summary=nasty)],
    )
    html = render(status)
    tree = Tree()
    tree.feed(html)
    assert "<script>alert" not in html
    assert not [each for each in tree.attributes if each[1] == "onload"]


def test_no_secret_is_shown() -> None:
    logs.hide(["s3cr3t-of-the-page"])
    try:
        text = "can't sign in with s3cr3t-of-the-page"
        status = statuses.status(
            problems=[text],
            log=[text],
            runs=[statuses.run(statuses.NIGHT, summary=text)],
            look=Look(taken_at=statuses.NOW, shelves=[type(statuses.shelf("a", []))(target="local", problem=text)]),
        )
        html = render(status)
    finally:
        logs._redactor.__init__()  # type: ignore[misc]
    assert "s3cr3t" not in html
    assert html.count("can&#39;t sign in with ***") == 5


@pytest.mark.slow
def test_two_thousand_backups_are_made_in_time_and_are_no_burden() -> None:
    page, status = Page(in_container=True), statuses.large()
    page.render(status)
    took = []
    for _ in range(5):
        begun = time.process_time()
        html = page.render(status)
        took.append(time.process_time() - begun)
    # 3,000 rows on two targets. The issue asks for 2,000 in 0.2 s; a busy machine gets some more.
    assert min(took) < 0.4
    assert len(html.encode()) < 1_300_000
    assert html.count("<use ") < 400
    assert html.count("<rect ") <= 122


def test_bars_have_gaps_where_nights_were_missed() -> None:
    runs = [statuses.run(statuses.NIGHT - timedelta(days=day), size=100) for day in (30, 29, 3, 0)]
    runs.insert(2, statuses.failed_run(statuses.NIGHT - timedelta(days=5)))
    found = bars(runs, lambda run: run.size)
    values = [number for number, bar in enumerate(found) if bar.value is not None]
    assert len(found) == 31
    assert found[-1].at == statuses.NIGHT
    assert values == [0, 1, 27, 30]
    assert [number for number, bar in enumerate(found) if bar.failed] == [25]


def test_what_is_dated_in_the_future_is_said_to_be_and_is_not_the_newest() -> None:
    shelf = statuses.shelf("local", [statuses.NOW + timedelta(days=2), statuses.NOW - timedelta(days=2)])
    html = render(statuses.status(look=Look(taken_at=statuses.NOW, shelves=[shelf])))
    assert "The newest backup is 2 days old and lies on local;" in html
    assert "<dt>newest<dd>2 days old" in html
    assert html.count(">in the future<") == 1
    assert "future old" not in html


def test_a_clock_that_is_some_minutes_ahead_makes_none_of_the_future() -> None:
    shelf = statuses.shelf("local", [statuses.NOW + timedelta(minutes=4)])
    html = render(statuses.status(look=Look(taken_at=statuses.NOW, shelves=[shelf])))
    assert "The newest backup is dated in the future and lies on local;" in html


def test_a_clock_that_was_set_back_breaks_no_plot() -> None:
    times = [statuses.NIGHT, statuses.NIGHT - timedelta(days=3), statuses.NIGHT + timedelta(days=400)]
    render(
        statuses.status(
            runs=[statuses.run(at) for at in times],
            look=Look(taken_at=statuses.NOW, shelves=[statuses.shelf("local", times)]),
        )
    )


def test_the_first_run_of_years_ago_does_not_stretch_the_plots() -> None:
    hourly = [statuses.run(statuses.NIGHT - timedelta(hours=number)) for number in range(KEEP_RUNS, -1, -1)][1:]
    years_ago = statuses.NIGHT - timedelta(days=3000)
    html = render(statuses.status(runs=[statuses.run(years_ago), *hourly]))
    assert "From 2026-10-1" in html
    assert f"From {years_ago:%Y}" not in html
