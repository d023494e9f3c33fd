"""Whom backups are encrypted to, what lies open all the same, and whether what opens them lies here."""

from collections.abc import Iterator

from sidecar.catalog import LOCAL, catalog
from sidecar.errors import Exit
from sidecar.exposed import plain_on_s3
from sidecar.probes.job import Finding, Job
from sidecar.probes.room import room_to_open


def encryption(job: Job) -> Iterator[Finding]:
    """Whom backups are encrypted to, and whether what opens them lies here, where it should not."""
    if job.recipients:
        count = len(job.recipients)
        yield Finding("encryption", f"to {count} recipient{'s' if count > 1 else ''}: {', '.join(job.recipients)}")
        yield from _exposed(job)
    elif any(storage.name != LOCAL for storage in job.storages):
        yield Finding(
            "encryption",
            "OFF, AND BACKUPS GO TO S3: whoever can read the bucket reads all of Kimai in them",
            "Make a key, and set BACKUP_ENCRYPT_TO to its public half (README, Encryption).",
        )
    else:
        yield Finding("encryption", "off: whoever can read BACKUP_DIR reads all of Kimai in it")
    if job.keys:
        yield _identity(job)
        yield from room_to_open(job)
    elif job.recipients and job.drills:
        yield Finding(
            "identity",
            "BACKUP_IDENTITY is not set: drills by DRILL_SCHEDULE will open no encrypted backup",
            "Set BACKUP_IDENTITY_FILE, or drill elsewhere and unset DRILL_SCHEDULE (README, Encryption).",
            Exit.CONFIGURATION,
        )


def _exposed(job: Job) -> Iterator[Finding]:
    away = [storage for storage in job.listed if storage.name != LOCAL]
    if away and (count := plain_on_s3(catalog(away, job.instance_name))):
        yield Finding(
            "encryption",
            f"EARLIER BACKUPS LIE ON S3 NOT ENCRYPTED ({count}): who can read the bucket reads all of Kimai in them",
            "Delete there what is not to lie open; retention does in time (README, Encryption).",
        )


def _identity(job: Job) -> Finding:
    if job.recipients and not job.keys.opens(job.recipients):
        drills = "; drills by DRILL_SCHEDULE will fail" if job.drills else ""
        return Finding(
            "identity",
            f"BACKUP_IDENTITY opens none of what is encrypted from now on{drills}",
            "It may be that of older ones; else look whose key BACKUP_ENCRYPT_TO names (`age-keygen -y FILE`).",
            Exit.CONFIGURATION if job.drills else Exit.DONE,
        )
    seen = "BACKUP_IDENTITY is set: whoever takes over this machine can read every backup that it opens"
    if job.drills:
        return Finding("identity", f"{seen}; drills need it")
    return Finding("identity", seen, "Backups don't need it: keep it elsewhere, and set it for a restore or a drill.")
