"""What a backup asks of a Kimai, wherever that one runs."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sidecar.kimai.environment import AppSecret
from sidecar.kimai.survey import Survey
from sidecar.manifest import Kimai, Plugin


class Remark(NamedTuple):
    """Something that an admin may want to know of where Kimai runs, and what to do about it where anything is."""

    what: str
    seen: str
    mend: str = ""


class Instance(Protocol):
    """The Kimai to back up, wherever it runs."""

    def identify(self) -> Kimai:
        """Version, image and revision, as far as they can be learnt. Raises `Unreachable`."""

    def environment(self) -> dict[str, str]:
        """Kimai's variables in force."""

    def plugins(self) -> list[Plugin] | None:
        """The plugins that it loads; None, with a warning, where they can't be read."""

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from, and its fingerprint."""

    def survey(self, previous_paths: Sequence[str] = (), previous_missing: Sequence[str] = ()) -> Survey:
        """All of the instance's files; what the backup before had, or missed already, and is gone is missing."""

    def remarks(self) -> list[Remark]:
        """What an admin should know of where it runs. Raises `Unreachable`, `ConfigurationError`."""
