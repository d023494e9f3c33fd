"""Kimai's web pages, as far as they show that it works: the login page, which asks the database."""

import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from sidecar.errors import Unreachable

LOGIN = "/en/login"
"""Answers 200 with the database up and 500 without; `/` leads on either way, and the image's health check asks that."""

DEADLINE = 60.0
"""Seconds: the first page after a reload is the slowest."""


def check_login(url: str) -> None:
    """Ask for the login page. Raises `Unreachable` for any answer but 200."""
    page = url.rstrip("/") + LOGIN
    shown = redacted(page)
    try:
        with urllib.request.urlopen(page, timeout=DEADLINE) as answer:  # noqa: S310 - settings take http and https only
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{shown} does not answer: {reason}", mend="Check KIMAI_URL, or unset it.") from error
    if status != 200:
        raise Unreachable(f"{shown} answers {status}", mend="Look into Kimai's log, var/log/prod.log.")


def redacted(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
