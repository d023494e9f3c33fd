"""What is told in few words, wherever it is told: sizes, and the first of many names."""

from collections.abc import Sequence


def amount(size: float) -> str:
    """A size in bytes as people read it."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def some(names: Sequence[str], most: int) -> str:
    """The first so many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
