"""Whose APP_SECRET is in force after a restore, what it means where it isn't the backup's, and how to mend that."""

from sidecar.archive.source import Source
from sidecar.errors import ConfigurationError, KimaiBackupError
from sidecar.kimai.beneath import SMALL_LIMIT
from sidecar.kimai.environment import GENERATED_FILE, AppSecret, app_secret, effective_environment
from sidecar.kimai.target import Target
from sidecar.manifest import ENVIRONMENT_NAME
from sidecar.restore_job import Report

_MEANS = (
    "users are signed out of 'remember me', and links and all else that was signed with the backup's no longer count"
)


def foresee(kimai: Target, source: Source) -> list[str]:
    """What is sure before anything is restored: a secret in the environment of Kimai's container wins over all files.

    A sentence where that keeps the backup's from coming back.
    """
    backed, now = _of_backup(source), _in_force(kimai)
    if backed is None or backed.fingerprint is None:
        return []
    given = isinstance(now, AppSecret) and now.source == "environment"
    if given and isinstance(now, AppSecret) and now.fingerprint != backed.fingerprint:
        return [_differs(now, backed)]
    if not given and backed.source == "environment" and kimai.mirrors_secret:
        return [_lost(backed)]
    return []


def tell(kimai: Target, source: Source, report: Report) -> None:
    """Which secret counts now, and whether it is the backup's."""
    backed, now = _of_backup(source), _in_force(kimai)
    if isinstance(now, str):
        report.note(f"which APP_SECRET is in force can't be seen: {now}")
    elif now is None:
        report.note("no APP_SECRET is in force: Kimai needs one, in .env or in its environment")
    elif backed is None or backed.fingerprint is None or now.fingerprint is None:
        report.step(f"APP_SECRET in force comes from {now.source}; nobody knows whether it is the backup's")
    elif now.fingerprint == backed.fingerprint:
        report.step(f"APP_SECRET in force comes from {now.source}, and is the backup's")
    else:
        report.step(f"APP_SECRET in force comes from {now.source}, and is not the backup's")
        lost = backed.source == "environment" and now.source != "environment" and kimai.mirrors_secret
        report.note(_lost(backed) if lost else _differs(now, backed))


def _differs(now: AppSecret, backed: AppSecret) -> str:
    mend = _mend(backed)
    if now.source == "environment" and backed.source == GENERATED_FILE:
        mend = f"take APP_SECRET out of the environment of Kimai's container, and {GENERATED_FILE} counts again"
    return (
        f"APP_SECRET from {now.source} is in force and not the backup's, which came from {backed.source}: {_MEANS}. "
        f"To keep them: {mend}"
    )


def _lost(backed: AppSecret) -> str:
    return (
        f"the backup's APP_SECRET came from the environment of Kimai's container, which has none: {_MEANS}. "
        f"To keep them: {_mend(backed)}"
    )


def _mend(backed: AppSecret) -> str:
    place = {"environment": ENVIRONMENT_NAME}.get(backed.source, backed.source)
    where = "in the environment of Kimai's container" if backed.source == "environment" else "where Kimai reads it"
    return f"set APP_SECRET {where} to the one in {place} of the zip, and start Kimai again"


def _of_backup(source: Source) -> AppSecret | None:
    if source.manifest is not None:
        origin = source.manifest.app_secret_source
        return AppSecret(origin, source.manifest.app_secret) if origin else None
    there = {file.path for file in source.files if file.kind == "file"}

    def read(path: str) -> bytes | None:
        if path not in there:
            return None
        with source.open(path) as stream:
            return stream.read(SMALL_LIMIT)

    try:
        return app_secret(read, effective_environment(read), process={})
    except ConfigurationError:
        return None


def _in_force(kimai: Target) -> AppSecret | str | None:
    """The secret in force, or why it can't be seen."""
    try:
        return kimai.app_secret()
    except (KimaiBackupError, OSError) as error:
        return str(error)
