"""How many examples hypothesis tries: as many as a test asks for, and a part of them in `make check`."""

import hypothesis

USUAL = 100
QUICK = 20
"""Instead of each hundred, by the profile `quick` (tests/conftest.py)."""


def examples(wanted: int) -> int:
    """So many, or a part of them: for `max_examples`, which no profile changes otherwise."""
    return max(1, wanted * hypothesis.settings.default.max_examples // USUAL)
