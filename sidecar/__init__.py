"""kimai-backup: backs up and restores Kimai, and proves it."""

__version__ = "0.1.0"
