"""What lies open on S3, or is about to: whoever can read the bucket reads it."""

import logging
from collections.abc import Sequence

from sidecar.catalog import LOCAL, Catalog
from sidecar.names import ARCHIVE_SUFFIX
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)


def plain_on_s3(listing: Catalog) -> int:
    """How many archives there are not encrypted, those that have no manifest included."""
    copies = [(copy.target, copy.archive_key) for backup in listing.backups for copy in backup.copies]
    found = [*copies, *((stray.target, stray.key) for stray in listing.orphans)]
    return sum(target != LOCAL and key.endswith(ARCHIVE_SUFFIX) for target, key in found)


def warn_of_plain(storages: Sequence[Storage], exposed: int, *, encrypts: bool) -> None:
    """Say what goes to S3 unencrypted, or where that is mended by now, how many (`exposed`) still lie there so."""
    if encrypts and exposed:
        log.warning(
            "earlier backups that lie on S3 NOT ENCRYPTED: %s. Whoever can read the bucket reads all of Kimai in them. "
            "Delete there what is not to lie open; retention does in time (README, Encryption)",
            exposed,
        )
    if not encrypts and any(storage.name != LOCAL for storage in storages):
        log.warning(
            "backups go to S3 NOT ENCRYPTED: whoever can read the bucket reads all of Kimai in them. "
            "Set BACKUP_ENCRYPT_TO (README, Encryption)"
        )
