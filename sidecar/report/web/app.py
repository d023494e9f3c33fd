"""What is answered under which address: the page, its style and script, metrics, health; to GET and HEAD alone."""

import logging
from collections.abc import Callable
from email.utils import formatdate
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from sidecar.report import log as logs
from sidecar.report import metrics
from sidecar.report.web.page import Page
from sidecar.status import Status

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(status: Callable[[], Status], *, in_container: bool) -> "ASGIApp":
    """The application. Its answers are computed in the one thread that serves them: there is nothing to wait for."""
    page = Page(in_container=in_container)
    figures = metrics.Metrics(status)
    static = {
        file.name: file.read_bytes()
        for file in files(__package__).joinpath("static").iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }

    async def show_page(_: Request) -> Response:
        return HTMLResponse(page.render(status()))

    async def show_metrics(_: Request) -> Response:
        return Response(figures.text(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def show_health(_: Request) -> Response:
        problems = [logs.redact(problem) for problem in status().problems]
        return PlainTextResponse("\n".join(problems or ["ok"]) + "\n", status_code=503 if problems else 200)

    async def show_static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in static:
            raise HTTPException(404)
        # A new one each time: the middleware that packs it writes the packed length into its headers.
        return Response(static[name], media_type=_TYPES[name.rpartition(".")[2]])

    async def show_nothing(_: Request, __: Exception) -> Response:
        return HTMLResponse(page.nothing, status_code=404)

    app = Starlette(
        routes=[
            Route("/", show_page),
            Route("/metrics", show_metrics),
            Route("/healthz", show_health),
            Route("/static/{name}", show_static),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)],
        exception_handlers={404: show_nothing},
    )
    # It would lead to whatever name the request says that this host has.
    app.router.redirect_slashes = False
    return _Guarded(app)


class _Guarded:
    """Gives every answer its headers, and makes one of whatever an answer failed by."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        has_begun = False

        async def send_with_headers(message: "Message") -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                headers.update({**_HEADERS, "Date": formatdate(usegmt=True)})
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            # The daemon goes on, and so does the server. Starlette has answered already, where it could.
            log.exception("%s can't be shown", scope.get("path"))
            if not has_begun:
                await PlainTextResponse("unexpected fault: see the log\n", 500)(scope, receive, send_with_headers)
