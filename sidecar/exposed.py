"""What lies open on S3 though backups are encrypted by now: whoever can read the bucket reads it."""

from sidecar.catalog import LOCAL, Catalog
from sidecar.names import ARCHIVE_SUFFIX


def plain_on_s3(listing: Catalog) -> int:
    """How many archives there are not encrypted, those that have no manifest included."""
    copies = [(copy.target, copy.archive_key) for backup in listing.backups for copy in backup.copies]
    found = [*copies, *((stray.target, stray.key) for stray in listing.orphans)]
    return sum(target != LOCAL and key.endswith(ARCHIVE_SUFFIX) for target, key in found)
