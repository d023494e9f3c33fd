"""A headless Chromium, and the page served to it by the real server."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from sidecar.report.web.server import serve
from sidecar.status import Status
from sidecar.values import Listen

PLAIN = "kimai-backup.test"
"""A name of this machine that is no `localhost`: a page from there is not trusted with the clipboard."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {PLAIN} 127.0.0.1",
]


class Visit:
    """One page that was opened, with all that it asked for and complained of."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))
        page.on("response", lambda response: response.ok or self.complaints.append(f"{response.status} {response.url}"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Playwright gives it a user data folder of its own, and removes that.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS, timeout=60_000)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Serve a status, open the page, and see afterwards that nothing was asked of others and no error was told."""
    ends: list[Callable[[], None]] = []
    visits: list[Visit] = []

    def open_page(
        status: Callable[[], Status],
        *,
        width: int = 1280,
        scheme: str = "light",
        host: str = "127.0.0.1",
        context: BrowserContext | None = None,
        **options: object,
    ) -> Visit:
        server = serve(status, Listen("127.0.0.1", 0), in_container=True)
        ends.append(lambda: server.stop(10))
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
            ends.append(context.close)
        opened = Visit(context.new_page(), f"http://{host}:{server.listen.port}")
        visits.append(opened)
        opened.page.goto(opened.origin, timeout=30_000)
        return opened

    with ended(ends):
        yield open_page
        for each in visits:
            assert not each.complaints
            assert {url.rpartition("/")[0] for url in each.asked} <= {each.origin, f"{each.origin}/static"}


@contextmanager
def ended(ends: list[Callable[[], None]]) -> Iterator[None]:
    try:
        yield
    finally:
        for end in reversed(ends):
            end()
