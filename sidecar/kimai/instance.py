"""What a backup asks of a Kimai, wherever that one runs."""

from collections.abc import Sequence
from typing import Protocol

from sidecar.kimai.environment import AppSecret
from sidecar.kimai.files import Survey
from sidecar.manifest import Kimai


class Instance(Protocol):
    """The Kimai to back up, wherever it runs."""

    def identify(self) -> Kimai:
        """Version, image and revision, as far as they can be learnt. Raises `Unreachable`."""

    def environment(self) -> dict[str, str]:
        """Kimai's variables in force."""

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from, and its fingerprint."""

    def survey(self, previous_paths: Sequence[str] = (), previous_missing: Sequence[str] = ()) -> Survey:
        """All of the instance's files; what the backup before had, or missed already, and is gone is missing."""
