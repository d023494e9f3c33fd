"""Heartbeats: a watchdog is told of each backup's start and end, and raises the alarm when it hears nothing."""

import logging
import time
from base64 import b64encode
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from sidecar.report.beside import within
from sidecar.report.log import redact
from sidecar.secret import Secret

log = logging.getLogger(__name__)

Beat = Literal["start", "success", "fail"]

TIMEOUT = 10.0
"""Seconds for one try; there are two."""
BODY = 10_000
"""Bytes; Healthchecks takes 100 kB, others less."""
_PAUSE = 1.0
_PASSING = (408, 425, 429)


def ping(url: Secret, beat: Beat, body: str = "", *, timeout: float = TIMEOUT) -> bool:
    """Tell the watchdog; whether it has heard. Whatever goes wrong is one warning, and nothing more."""
    [outcome] = within(2 * timeout + _PAUSE, [lambda: _twice(url.reveal(), beat, body, timeout)])
    problem = str(outcome) if isinstance(outcome, Exception) else outcome
    if problem:
        log.warning(
            "HEARTBEAT_URL %s was not told of the %s: %s. Look at that URL, and whether it can be reached from here",
            url,
            {"start": "start", "success": "success", "fail": "failure"}[beat],
            redact(problem),
        )
    return not problem


def address(url: str, beat: Beat) -> str:
    """Where a beat goes: the path gets a suffix, a query string stays."""
    parts = urlsplit(url)
    suffix = "" if beat == "success" else f"/{beat}"
    path = parts.path.rstrip("/") + suffix if suffix else parts.path
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, parts.query, ""))


def _twice(url: str, beat: Beat, body: str, timeout: float) -> str:
    problem, passes = _once(url, beat, body, timeout)
    if problem and passes:
        time.sleep(_PAUSE)
        problem, _ = _once(url, beat, body, timeout)
    return problem


def _once(url: str, beat: Beat, body: str, timeout: float) -> tuple[str, bool]:
    """What went wrong, if anything, and whether it may pass by itself."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """A redirect would carry the body to another place, or lose it on the way: it is a failure, and told."""

        def redirect_request(self, *_: object) -> None:
            return None

    headers = {"User-Agent": "kimai-backup", "Content-Type": "text/plain; charset=utf-8"}
    if (userinfo := urlsplit(url).netloc.rpartition("@")[0]) != "":
        headers["Authorization"] = f"Basic {b64encode(unquote(userinfo).encode()).decode()}"
    content = body.encode(errors="replace")[:BODY].decode(errors="ignore").encode()
    request = Request(address(url, beat), content, headers, method="POST")  # noqa: S310 - the setting lets http(s) through alone
    try:
        with build_opener(Stay).open(request, timeout=timeout) as answer:
            answer.read(1000)
    except HTTPError as error:
        with error:
            return f"it answered {error.code}", error.code >= 500 or error.code in _PASSING
    except (OSError, HTTPException, ValueError) as error:
        # An URLError's own reason says more than its class.
        return str(getattr(error, "reason", error)) or type(error).__name__, not isinstance(error, ValueError)
    return "", False
