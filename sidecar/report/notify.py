"""Notifications through apprise, to whatever service a URL names; the only place that imports it."""

import logging
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from sidecar.report.beside import within
from sidecar.report.log import redact
from sidecar.secret import Secret

if TYPE_CHECKING:
    from apprise import NotifyBase

DEADLINE = 30.0
"""Seconds that all notifiers together get; they are asked side by side."""
_REASON = 200
"""Characters of what a service says of itself."""
_READING = threading.Lock()


class Answer(NamedTuple):
    """What became of one URL, shown without its secrets; no problem: the service took it."""

    url: str
    problem: str = ""


def send(
    urls: Sequence[Secret],
    title: str,
    body: str,
    tone: Literal["success", "warning", "failure"],
    *,
    deadline: float = DEADLINE,
) -> list[Answer]:
    """Send a text to each URL. Nothing is raised, whatever apprise or a service do: that is their answer's problem."""

    def to(url: Secret) -> str:
        service = _service(url.reveal())
        return _deliver(service, title, body, tone) if service else "apprise can't read this URL"

    return _answers(urls, within(deadline, [partial(to, url) for url in urls]))


def read(urls: Sequence[Secret], *, deadline: float = DEADLINE) -> list[Answer]:
    """Whether apprise can read each URL; nothing is sent."""

    def one(url: Secret) -> str:
        return "" if _service(url.reveal()) else "apprise can't read this URL"

    return _answers(urls, within(deadline, [partial(one, url) for url in urls]))


def _answers(urls: Sequence[Secret], outcomes: Sequence[str | Exception]) -> list[Answer]:
    return [Answer(str(url), _problem(outcome)) for url, outcome in zip(urls, outcomes, strict=True)]


def _problem(outcome: str | Exception) -> str:
    # apprise and the libraries of its services may raise anything at all, often without a word.
    if isinstance(outcome, Exception) and not isinstance(outcome, TimeoutError):
        outcome = f"{type(outcome).__name__}: {outcome}"
    return " ".join(redact(str(outcome)).split())[:_REASON]


def _service(url: str) -> "NotifyBase | None":
    """The service that a URL names, None where apprise doesn't know it.

    Nothing is kept on disk (the root file system may be read-only), no redirect is followed (it would turn what is
    sent into a GET that succeeds and says nothing), and no thread of apprise's own is begun, which the end of this
    process would wait for.
    """
    # One thread at a time: apprise looks for its plugins with the first URL.
    with _READING:
        from apprise import Apprise, AppriseAsset, OverflowMode

        _Overheard.install()
        asset = AppriseAsset(
            app_id="kimai-backup",
            app_desc="Backups of Kimai",
            storage_mode="memory",
            http_redirects=False,
            async_mode=False,
            service_timeout=0,
            pgp_autogen=False,
            pem_autogen=False,
        )
        found = Apprise.instantiate(url, asset=asset)
    if found is not None and "overflow=" not in url.lower():
        # Some services refuse what is too long for them, and apprise leaves that as it is.
        found.overflow_mode = OverflowMode.TRUNCATE
    return found


def _deliver(service: "NotifyBase", title: str, body: str, tone: str) -> str:
    from apprise import Apprise, NotifyFormat

    one = Apprise(asset=service.asset)
    one.add(service)
    said = _Overheard.by_this_thread()
    # Plain text: what looks like markup in a log line is none.
    taken = one.notify(body=body, title=title, notify_type=tone, body_format=NotifyFormat.TEXT)
    return "" if taken else (said[-1] if said else "the service did not take it")


class _Overheard(logging.Handler):
    """Keeps apprise's warnings, which alone say why something was not sent, out of the log: ours is to be one line."""

    _said: dict[int, list[str]] = {}  # noqa: RUF012 - one for all

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread in self._said:
            self._said[record.thread].append(record.getMessage())

    @classmethod
    def install(cls) -> None:
        theirs = logging.getLogger("apprise")
        theirs.setLevel(logging.WARNING)
        theirs.propagate = False
        if not any(isinstance(each, cls) for each in theirs.handlers):
            theirs.handlers[:] = [cls()]

    @classmethod
    def by_this_thread(cls) -> list[str]:
        """From now on, in a list that grows."""
        said = cls._said[threading.get_ident()] = []
        return said
