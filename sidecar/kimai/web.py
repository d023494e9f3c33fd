"""Kimai's web pages, as far as they show that it works: the login page, which asks the database."""

import base64
import http.client
import urllib.request
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

from sidecar.errors import Unreachable

LOGIN = "/en/login"
"""Answers 200 with the database up and 500 without; `/` leads on either way, and the image's health check asks that."""

DEADLINE = 60.0
"""Seconds: the first page after a reload is the slowest."""


def check_login(url: str) -> None:
    """Ask for the login page, and never through a proxy. Raises `Unreachable` for any answer but 200.

    A proxy that the environment names is one for the world outside, and Kimai is near. A user and password in the URL
    are sent to its host, and shown nowhere.
    """
    page, shown = _without_userinfo(url.rstrip("/") + LOGIN), redacted(url.rstrip("/") + LOGIN)
    request = urllib.request.Request(page)  # noqa: S310 - settings take http and https only
    if userinfo := urlsplit(url).netloc.rpartition("@")[0]:
        encoded = base64.b64encode(unquote(userinfo).encode()).decode()
        # Not to wherever a redirect leads.
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=DEADLINE) as answer:
            status = answer.status
    except HTTPError as error:
        status = error.code
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{shown} does not answer: {reason}", mend="Check KIMAI_URL, or unset it.") from error
    if status != http.client.OK:
        raise Unreachable(f"{shown} answers {status}", mend="Look into Kimai's log, var/log/prod.log.")


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def redacted(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
