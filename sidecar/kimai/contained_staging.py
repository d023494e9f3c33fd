"""Files on their way to a Kimai in its container: to shared volumes, or collected for an upload."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Self

import msgspec

from sidecar.kimai.aside import SetAside
from sidecar.kimai.shares import Shares
from sidecar.kimai.staging import Staging
from sidecar.kimai.upload import Upload
from sidecar.manifest import File


class ContainedStaging:
    """Files on their way to volumes and into a container, as `Exchange` says."""

    def __init__(self, local: Staging | None, upload: Upload, shares: Shares, keep_beside: Mapping[str, str]) -> None:
        self.notes: list[str] = []
        self.kept: list[str] = []
        self.stays: list[str] = []
        self._local = local
        self._upload = upload
        self._shares = shares
        self._beside = keep_beside
        self._settled = False
        self._is_handed_over = False

    def write(self, file: File, chunks: Iterable[bytes] = ()) -> None:
        """Stage one file, folder or link."""
        if moved := self._beside.get(file.path):
            file = msgspec.structs.replace(file, path=moved, path_bytes=None)
        if self._local is not None and self._shares.is_local(file.path):
            self._local.write(file, chunks)
        else:
            self._upload.add(file, chunks)

    def swap(self) -> None:
        """Exchange what lies on the volumes, then send the rest."""
        if self._local is not None:
            self._local.swap()
            self.kept += [path for path in self._local.kept if self._shares.is_local(path)]
        self._upload.send()
        self.kept += self._upload.kept

    def set_aside(self) -> Iterator[SetAside]:
        """What was exchanged on the volumes: nobody writes to a stopped container's own files."""
        if self._local is not None:
            yield from self._local.set_aside()

    def hand_over(self) -> None:
        """Leaving puts nothing back from here on."""
        self._is_handed_over = True
        if self._local is not None:
            self._local.hand_over()

    def settle(self) -> None:
        """Keep the new files for good."""
        if self._local is not None:
            self._local.settle()
        self._upload.settle()
        self._settled = True

    def clean_up(self) -> None:
        """Delete what was kept of the old ones."""
        if self._local is not None:
            self._local.clean_up()
            self.notes += self._local.notes
        self._upload.clean_up()

    def __enter__(self) -> Self:
        if self._local is not None:
            self._local.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        with ExitStack() as both:
            if self._local is not None:
                both.push(self._local.__exit__)
            if self._is_handed_over and not self._settled:
                self._upload.close()
            elif not self._settled:
                self.stays += self._upload.put_back()
