"""What goes into one archive: its entries in their order, and the manifest made of them."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from sidecar import __version__
from sidecar.archive.entries import MANIFEST_LIMIT
from sidecar.archive.writer import Entry, is_compressed
from sidecar.database.dump import Dump
from sidecar.errors import Refused
from sidecar.kimai.environment import render
from sidecar.kimai.instance import Instance
from sidecar.kimai.survey import Survey
from sidecar.manifest import DATABASE_NAME, ENVIRONMENT_NAME, INNER_NAME, BackupId, File, Kimai, Manifest, encode
from sidecar.report.progress import Progress

OWN_MODE = stat.S_IFREG | 0o600
"""st_mode of the entries that are no file of Kimai's."""


class Pack:
    """The entries of one archive, in their order; its `manifest` is there once the last has been asked for.

    `survey` is called when the database has been read to its end.
    """

    def __init__(
        self,
        backup_id: BackupId,
        kimai: Kimai,
        dump: Dump,
        instance: Instance,
        survey: Callable[[], Survey],
        progress: Progress,
    ) -> None:
        self.manifest: Manifest
        self._survey: Survey
        self._take_survey = survey
        self._instance = instance
        self._progress = progress
        self._id = backup_id
        self._kimai = kimai
        self._dump = dump
        self._started = datetime.now(UTC)
        self._mtime = int(self._started.timestamp()) * 10**9
        self._files: list[File] = []

    def entries(self) -> Iterator[Entry]:
        """Every entry once, each to be read to its end before the next is asked for."""
        yield self._own(DATABASE_NAME, self._dump.chunks())
        # Only now: a file that the database already knew of is there by now as well.
        self._survey = self._take_survey()
        yield self._environment()
        self._progress.phase("files", total=self._survey.size)
        for entry in self._survey.entries:
            yield from self._file(entry)
        self._survey.close()
        self.manifest = self._describe()
        text = encode(self.manifest)
        if len(text) > MANIFEST_LIMIT:
            raise Refused(
                f"the manifest has {len(text)} bytes, more than a restore reads ({MANIFEST_LIMIT})",
                mend="Look for a folder with very many files among Kimai's user data.",
            )
        yield self._own(INNER_NAME, [text])

    def _own(self, name: str, chunks: Iterator[bytes] | Sequence[bytes]) -> Entry:
        return Entry(name, OWN_MODE, self._mtime, chunks)

    def _environment(self) -> Entry:
        content = render(self._instance.environment())
        digest = hashlib.sha256(content).hexdigest()
        own = File(
            path=ENVIRONMENT_NAME,
            size=len(content),
            sha256=digest,
            mode=OWN_MODE,
            mtime=self._mtime,
            uid=os.getuid(),
            gid=os.getgid(),
        )
        self._files.append(own)
        return self._own(ENVIRONMENT_NAME, [content])

    def _file(self, entry: File) -> Iterator[Entry]:
        if entry.kind == "folder":
            self._files.append(entry)
            yield Entry(entry.path + "/", entry.mode, entry.mtime, [])
        elif entry.kind == "link":
            self._files.append(entry)
            target = entry.target_bytes or (entry.target or "").encode()
            yield Entry(entry.path, entry.mode, entry.mtime, [target])
        elif (reading := self._survey.open(entry)) is not None:
            with reading:
                yield Entry(entry.path, entry.mode, entry.mtime, reading, stored=is_compressed(entry.path))
                self._files.append(reading.file)
                self._progress.advance(reading.file.size)

    def _describe(self) -> Manifest:
        survey = self._survey
        secret = self._instance.app_secret()
        database = self._dump.description()
        warnings = self._dump.warnings()
        warnings += [
            f"{what} can't be seen by the database user: whether there are any is unknown" for what in database.unseen
        ]
        warnings += [f"link leads to what is not in the backup: {path}" for path in survey.uncovered_links]
        warnings += [f"skipped, as it is no file, folder or link: {path}" for path in survey.skipped]
        return Manifest(
            id=str(self._id),
            instance=self._id.instance,
            started_at=self._started,
            finished_at=datetime.now(UTC),
            tool_version=__version__,
            kimai=msgspec.structs.replace(self._kimai, plugins=self._instance.plugins()),
            database=database,
            files=self._files,
            missing=survey.missing,
            unreadable=survey.unreadable,
            changed=survey.changed,
            app_secret=secret.fingerprint if secret else None,
            app_secret_source=secret.source if secret else None,
            warnings=warnings,
        )
