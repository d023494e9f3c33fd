"""Where backups are kept by these settings: the local folder, the S3 store, and how long each keeps them."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import names
from sidecar.errors import ConfigurationError, StorageFailed
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.archive.decrypting import Keyring
    from sidecar.retention import Policy
    from sidecar.storage.base import Storage
    from sidecar.storage.local import LocalStorage
    from sidecar.storage.notes import Note
    from sidecar.storage.retrying import RetryingStorage
    from sidecar.storage.s3 import Options, S3Storage

log = logging.getLogger(__name__)

_DAY = 86400
_LONGEST_SILENCE = 60
_BRIEF_SILENCE = 4
"""Seconds: two tries by two addresses must fit into HEALTHCHECK's 30, or nobody reads why it failed."""


class Targets:
    """The targets of one instance. `state_folder` gives BACKUP_STATE_DIR, made if need be."""

    def __init__(self, settings: Settings, instance: str, state_folder: Callable[[], Path]) -> None:
        self._settings = settings
        self._instance = instance
        self._state_folder = state_folder

    @cached_property
    def local(self) -> "LocalStorage | None":
        """The local target, if there is one."""
        from sidecar.storage.local import LocalStorage

        return LocalStorage(self._settings.backup_dir) if self._settings.backup_dir else None

    @cached_property
    def s3(self) -> "S3Storage | None":
        """The S3 target without patience, if there is one."""
        if self._settings.s3_bucket is None:
            return None
        from sidecar.storage.s3 import S3Storage

        return S3Storage(self._options(self._settings.s3_bucket), self._spool_folder)

    @cached_property
    def impatient(self) -> "list[Storage]":
        """Every target, local first, each call tried once; there may be none."""
        return [storage for storage in (self.local, self.s3) if storage is not None]

    @cached_property
    def brief(self) -> "list[Storage]":
        """Every target for one quick look: a store that is silent is soon said to be. There may be none."""
        found: list[Storage] = [self.local] if self.local is not None else []
        if self._settings.s3_bucket is not None:
            from sidecar.storage.s3 import S3Storage

            options = replace(self._options(self._settings.s3_bucket), timeout=_BRIEF_SILENCE)
            found.append(S3Storage(options, self._spool_folder))
        return found

    @cached_property
    def storages(self) -> "list[Storage]":
        """Every target, local first. Raises `ConfigurationError` where there is none."""
        self.refuse_none()
        found: list[Storage] = [each for each in (self.local, self._patient) if each is not None]
        return found

    @property
    def names(self) -> list[str]:
        """What the targets are called, for those who need none of their adapters."""
        given = {"local": self._settings.backup_dir, "s3": self._settings.s3_bucket}
        return [name for name, value in given.items() if value is not None]

    def refuse_none(self) -> None:
        """Raise `ConfigurationError` where there is no target."""
        if not self.names:
            raise ConfigurationError("there is no target", mend="Set BACKUP_DIR or S3_BUCKET, or both.")

    @cached_property
    def _patient(self) -> "RetryingStorage | None":
        if self.s3 is None:
            return None
        from sidecar.storage.retrying import RetryingStorage

        return RetryingStorage(self.s3, self._settings.retry_deadline)

    def retries(self) -> int:
        """How many calls to targets were made again so far."""
        return self._patient.retries if self._patient else 0

    def policy_of(self, target: str) -> "Policy":
        """Retention as the settings say: S3_RETENTION_* over RETENTION_* for S3."""
        from sidecar.retention import Policy

        def value(name: str) -> int:
            own = getattr(self._settings, f"s3_retention_{name}") if target == "s3" else None
            found: int = getattr(self._settings, f"retention_{name}") if own is None else own
            return found

        return Policy(**{name: value(name) for name in Policy._fields})

    @cached_property
    def keys(self) -> "Keyring":
        """What opens encrypted archives, where a key was given."""
        from sidecar.archive.decrypting import Keyring
        from sidecar.storage.base import FETCHED

        identity = self._settings.backup_identity
        return Keyring(identity.reveal() if identity else None, self._spool_folder, FETCHED)

    @contextmanager
    def fetch(self, storage: "Storage", key: str) -> Iterator[Path]:
        """An object as a file on this machine, for readers that must jump about in it."""
        from sidecar.storage.base import FETCHED, Spooled

        if storage is self.local and self._settings.backup_dir is not None:
            yield self._settings.backup_dir / key
            return
        with storage.open(key) as stream:
            if isinstance(stream, Spooled):
                yield stream.path
                return
            data = stream.read()
        with ExitStack() as held:
            spool = self._spool_folder()
            try:
                folder = held.enter_context(tempfile.TemporaryDirectory(prefix=FETCHED, dir=spool))
                path = Path(folder) / key
                path.write_bytes(data)
            except OSError as error:
                raise StorageFailed(
                    f"{key} can't be fetched into {spool}: {error.strerror}", mend="Make room in BACKUP_STATE_DIR."
                ) from error
            yield path

    # ── Where archives grow ──────────────────────────────────────────────────────────────────────────────────

    def file(self, key: str) -> Path:
        """An empty file that is to become the object of this key.

        Inside the local target, where publishing it is a link; in BACKUP_STATE_DIR without one, or where that one
        fails and another target does not.
        """
        if self.local is not None:
            try:
                return self.local.spool(key)
            except StorageFailed as error:
                if self.s3 is None:
                    raise
                log.error("target local failed: %s", error)  # noqa: TRY400 - one line
        return self._spool.spool(key)

    def other_file(self, key: str, failed: Path, needed: int) -> Path | None:
        """The same where the local target, whose file failed, can fail alone.

        None without another target, and where BACKUP_STATE_DIR lies on the same disk, or on one with less room than
        `needed`, in bytes.
        """
        if self.local is None or self.s3 is None or failed.parent != self._settings.backup_dir:
            return None
        try:
            folder = self._spool_folder()
            if _same_disk(folder, failed.parent):
                return None
            free = shutil.disk_usage(folder).free
            if free < needed:
                log.warning(
                    "nor can an archive grow in %s: the last one has %s bytes, %s are free", folder, needed, free
                )
                return None
            return self._spool.spool(key)
        except (ConfigurationError, StorageFailed, OSError) as error:
            log.warning("nor can an archive grow in BACKUP_STATE_DIR: %s", error)
            return None

    def sweep(self, now: datetime, *, dry_run: bool = False) -> list[str]:
        """Remove what killed runs of this instance left on every target, and name it; a dry run only names it.

        For the holder of the lock.
        """
        found = self._sweep_folder(self._spool, now, dry_run=dry_run) + self._sweep_fetched(now, dry_run=dry_run)
        sweeps: list[tuple[str, Callable[[], list[str]]]] = []
        if (local := self.local) is not None:
            sweeps.append(("local", lambda: self._sweep_folder(local, now, dry_run=dry_run)))
        if (s3 := self.s3) is not None:
            sweeps.append(("s3", lambda: self._sweep_store(s3, now, dry_run=dry_run)))
        for name, sweep in sweeps:
            try:
                found += sweep()
            except StorageFailed as error:
                if len(sweeps) == 1 and self.local is not None:
                    raise
                log.warning("what killed runs left on target %s can't be looked for: %s", name, error)
        return found

    def _is_ours(self, key: str) -> bool:
        return names.belongs_to(key, self._instance)

    def _sweep_folder(self, folder: "LocalStorage", now: datetime, *, dry_run: bool) -> list[str]:
        sweep = folder.leftovers if dry_run else folder.sweep
        return [str(path) for path in sweep(now, 0, self._is_ours)]

    def _sweep_store(self, store: "S3Storage", now: datetime, *, dry_run: bool) -> list[str]:
        # A day, as an upload under way belongs to a machine that may not be this one.
        if not dry_run:
            return [f"the upload of {key}" for key in store.sweep(now, _DAY, self._is_ours)]
        begun = [key for key, _ in store.leftovers(now, _DAY, self._is_ours)]
        there = {found.key for found in store.list()} if begun else set()
        return [f"the upload of {key}" for key in begun if key not in there]

    def _sweep_fetched(self, now: datetime, *, dry_run: bool) -> list[str]:
        from sidecar.storage.base import FETCHED

        found = []
        for path in sorted(self._spool_folder().glob(f"{FETCHED}*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < now.timestamp() - _DAY:
                    found.append(str(path))
                    if not dry_run:
                        shutil.rmtree(path, ignore_errors=True)
                        log.warning("removed %s, which a run that was killed had fetched", path)
        return found

    @cached_property
    def _spool(self) -> "LocalStorage":
        from sidecar.storage.local import LocalStorage

        return LocalStorage(self._spool_folder())

    def _spool_folder(self) -> Path:
        folder = self._state_folder() / "spool"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"BACKUP_STATE_DIR: {folder} can't be made: {error.strerror}",
                mend="Let this user write there, or set BACKUP_STATE_DIR to a folder of its own.",
            ) from error
        return folder

    # ── S3 ───────────────────────────────────────────────────────────────────────────────────────────────────

    def remarks(self, now: datetime) -> "Iterable[Note]":
        """What to know of the S3 store, and whether archives can be uploaded to it as the settings say."""
        if self.s3 is None:
            return []
        policy = self.policy_of("s3")
        by_calendar = any((policy.daily, policy.weekly, policy.monthly, policy.yearly))
        return self.s3.remarks(now, policy.days, by_calendar=by_calendar)

    def _options(self, bucket: str) -> "Options":
        from sidecar.storage.s3 import Options

        found = self._settings
        return Options(
            bucket=bucket,
            prefix=found.s3_prefix,
            endpoint_url=found.s3_endpoint_url.reveal() if found.s3_endpoint_url else None,
            region=found.s3_region,
            access_key_id=found.s3_access_key_id.reveal() if found.s3_access_key_id else None,
            secret_access_key=found.s3_secret_access_key.reveal() if found.s3_secret_access_key else None,
            ca_file=found.s3_ca_file,
            storage_class=found.s3_storage_class,
            sse=found.s3_sse,
            sse_kms_key_id=found.s3_sse_kms_key_id,
            lock_mode=found.s3_object_lock_mode,
            lock_days=found.s3_object_lock_days or 0,
            timeout=max(5, min(_LONGEST_SILENCE, found.retry_deadline)),
            is_backup=_is_backup,
            is_archive=lambda key: key.endswith(names.ARCHIVE_SUFFIXES),
        )


def _same_disk(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False  # One that doesn't even tell: the other one may still do.


def _is_backup(key: str) -> bool:
    """What a lock is for: archive and manifest. Proofs come and go, and probes are nobody's backup."""
    stem, suffix = names.split(key)
    return names.parse(stem) is not None and suffix in (*names.ARCHIVE_SUFFIXES, names.MANIFEST_SUFFIX)
