"""The page in a browser: each state, without errors, outside requests or sideways scrolling, for everybody."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from sidecar.status import Status
from tests.browser.conftest import PLAIN, Visit
from tests.support import statuses

STATES: dict[str, tuple[Callable[[], Status], str]] = {
    "healthy": (statuses.healthy, "All is well"),
    "failing": (statuses.failing, "Something is wrong"),
    "tried again": (statuses.tried_again, "The last backup failed"),
    "empty": (statuses.empty, "No backup yet"),
    "running": (statuses.running, "Running now"),
    "unknown": (statuses.unknown, "Not known yet"),
    "long": (statuses.long_names, "Something is wrong"),
    "large": (statuses.large, "All is well"),
}
DOCS = Path(__file__).parents[2] / "docs"
COMMAND = f"docker compose run --rm restore {statuses.backup_id(statuses.NIGHT)}"

every_state = pytest.mark.parametrize("name", STATES)
schemes = pytest.mark.parametrize("scheme", ["light", "dark"])
Visiting = Callable[..., Visit]


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")


@every_state
def test_it_loads_and_says_how_things_stand(visit: Visiting, name: str) -> None:
    made, state = STATES[name]
    page = visit(made).page
    expect(page.locator("h1")).to_have_text(state)
    expect(page).to_have_title(f"{state}: kimai-backup of {made().instance}")
    expect(page.locator(".problems li")).to_have_count(len(made().problems))


@every_state
@schemes
def test_axe_finds_no_fault(visit: Visiting, name: str, scheme: str) -> None:
    page = visit(STATES[name][0], scheme=scheme).page
    if name != "large":  # thousands of rows that are the same as those of the others take axe a minute
        open_all(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@every_state
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_scrolls_sideways(visit: Visiting, name: str, width: int) -> None:
    page = visit(STATES[name][0], width=width).page
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_two_thousand_backups_are_all_there(visit: Visiting) -> None:
    page = visit(statuses.large).page
    rest = page.locator("details", has_text="1,950 more, older ones")
    expect(page.locator("section[aria-labelledby=on-s3] > table tbody tr")).to_have_count(50)
    expect(rest.locator("tbody tr").first).to_be_hidden()
    rest.locator("summary").click()
    expect(rest.locator("tbody tr")).to_have_count(1950)
    expect(rest.locator("tbody tr").last).to_be_visible()


@pytest.mark.parametrize("host", ["127.0.0.1", PLAIN], ids=["trusted", "plain http"])
def test_the_restore_command_is_copied(visit: Visiting, host: str) -> None:
    opened = visit(statuses.healthy, host=host)
    page = opened.page
    # Written and read by a page that is trusted, which the other one may not be.
    reader = visit(statuses.empty, context=page.context)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=reader.origin)
    if host != PLAIN:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=opened.origin)
    reader.page.bring_to_front()
    reader.page.evaluate("navigator.clipboard.writeText('what was there before')")
    page.bring_to_front()
    assert page.evaluate("window.isSecureContext") == (host != PLAIN)
    button = page.get_by_role("button", name="Copy the command that restores").first
    button.click()
    expect(button).to_have_text("Copied")
    expect(page.locator("#copied")).to_have_text(f"Copied: {COMMAND}")
    reader.page.bring_to_front()
    assert reader.page.evaluate("navigator.clipboard.readText()") == COMMAND


def test_it_can_be_used_by_keyboard_alone(visit: Visiting) -> None:
    page = visit(statuses.healthy).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    stops = []
    for _ in range(8):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.tagName"))
        if stops[-1] == "BUTTON":
            break
    assert stops == ["A", "A", "SUMMARY", "BUTTON"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#copied")).to_have_text(f"Copied: {COMMAND}")
    log = page.get_by_role("region", name="The log of the last run")
    log.focus()
    expect(log).to_be_focused()


def test_without_its_script_the_commands_are_there_as_text(visit: Visiting) -> None:
    page = visit(statuses.healthy, java_script_enabled=False).page
    expect(page.locator("table.backups code").first).to_have_text(COMMAND)
    expect(page.locator("table.backups button").first).to_be_hidden()


def test_a_plot_is_named_and_described_for_who_cannot_see_it(visit: Visiting) -> None:
    page = visit(statuses.healthy).page
    for name in ("Size of each backup", "Duration of each backup", "What retention keeps on local"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    described = page.get_by_role("img", name="What retention keeps on s3")
    expect(described).to_have_accessible_description(
        "113 backups, the oldest 2 years old: 14 proven, 67 kept and 32 going. "
        "The table of this target has each with its reason."
    )


def test_a_page_that_has_grown_old_says_so(visit: Visiting) -> None:
    opened = visit(statuses.empty)
    page = opened.page
    page.clock.install()
    page.reload()
    expect(page.locator("#old")).to_be_empty()
    page.clock.run_for(11 * 60_000)
    expect(page.locator("#old")).to_contain_text("that was 10 minutes ago")


@schemes
def test_the_documents_show_it(visit: Visiting, scheme: str) -> None:
    """With KIMAI_SCREENSHOTS set it makes the pictures anew (`make screenshots`)."""
    picture = DOCS / f"status-{scheme}.png"
    if os.environ.get("KIMAI_SCREENSHOTS"):
        visit(statuses.healthy, scheme=scheme, width=1080).page.screenshot(
            path=picture, full_page=True, clip={"x": 0, "y": 0, "width": 1080, "height": 1180}
        )
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size < 150_000
    assert picture.name in (DOCS / "monitoring.md").read_text()
