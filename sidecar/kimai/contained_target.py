"""A Kimai in its container as what a restore goes into: stopped, filled by volume and upload, started, waited for."""

import io
import logging
import os
import posixpath
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sidecar.errors import Refused, Unreachable
from sidecar.kimai.archived import open_tar, owner_of, tar_faults_named
from sidecar.kimai.archived_lost import compare_archived
from sidecar.kimai.beneath import exact_path
from sidecar.kimai.code import archived_newest_migration
from sidecar.kimai.console import QUERY_DEADLINE
from sidecar.kimai.contained import EMPTY_TAR, Contained
from sidecar.kimai.contained_rest import ContainedRest, stop_by_hand
from sidecar.kimai.contained_staging import ContainedStaging
from sidecar.kimai.docker import Engine
from sidecar.kimai.environment import BESIDE_SUFFIX, AppSecret, given_secret
from sidecar.kimai.lost import Compared, compare_local
from sidecar.kimai.places import ENTRY_COST
from sidecar.kimai.project import Container
from sidecar.kimai.recovery import Leftover, finish, leftovers, recover
from sidecar.kimai.setaside import faults_named
from sidecar.kimai.shares import Shares
from sidecar.kimai.staging import Staging
from sidecar.kimai.survey import Escape
from sidecar.kimai.tree import allowed_path
from sidecar.kimai.upload import BEFORE, Upload, put_back, remove, told_to_stay
from sidecar.kimai.userdata import outermost
from sidecar.kimai.writable import check_writable
from sidecar.manifest import File, Manifest

log = logging.getLogger(__name__)


class ContainedTarget(Contained):
    """`Contained`, to be restored into. `spool`: a folder of this machine's state, made and removed as needed."""

    def __init__(
        self,
        engine: Engine,
        find: Callable[[], Container],
        own: Container | None,
        root: Path,
        escape: Escape,
        exclude: Iterable[Path],
        environment: Mapping[str, str],
        spool: Path,
    ) -> None:
        super().__init__(engine, find, own, root, escape, exclude, environment)
        self._spool = spool

    def newest_migration(self) -> str | None:
        """The newest migration that the image's code knows; None, with a warning, where that can't be seen."""
        try:
            return archived_newest_migration(self._engine, self.app.id, self._root)
        except Unreachable as error:
            log.warning("Which migrations Kimai knows can't be seen: %s", error)
            return None

    def keeps(self, path: str) -> bool:
        """Whether it goes there by upload: the archive endpoint can't delete."""
        return not self.shares([path]).is_local(path)

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from, read anew: a restore, or the image's start, may have changed it."""
        self._read.clear()
        return super().app_secret()

    def owner(self) -> tuple[int, int]:
        """User and group of `var/`, which is what Kimai writes to."""
        return owner_of(self._engine, self.app.id, f"{self._root}/var")

    def mounted_files(self, files: Sequence[File], _also: Sequence[str], /) -> set[bytes]:
        """Those of the backup's files that are mounts of their own in Kimai's container."""
        mounts = {each.destination.removeprefix(f"{self._root}/").encode() for each in self.app.mounts}
        return {exact_path(file) for file in files if file.kind == "file"} & mounts

    @contextmanager
    def open(self, path: bytes) -> Iterator[IO[bytes]]:
        """A file in the container, to compare."""
        place = posixpath.join(self._root, path.decode())
        with self._engine.fetch(self.app.id, place) as stream, open_tar(stream, place) as tar, tar_faults_named(place):
            member = tar.next()
            content = tar.extractfile(member) if member is not None else None
            if content is None:
                raise Refused(f"{place} in Kimai's container is no file", mend="Unmount what lies there.")
            yield content

    def check(self, files: Sequence[File], also: Sequence[str]) -> list[str]:
        """Raise `Refused` unless the volumes can be written to, and Docker lets files be put into the container."""
        shares = self._shares(also)
        local = [file for file in files if shares.is_local(file.path)]
        remote = [file for file in files if not shares.is_local(file.path)]
        if local:
            check_writable(self.root, local, shares.local)
        if remote:
            self._check_spool(remote)
            try:
                self._engine.store(self.app.id, self._root, io.BytesIO(EMPTY_TAR))
            except Unreachable as error:
                raise Refused(
                    f"{len(remote)} of the backup's files have to go through Docker, which doesn't let them: {error}",
                    mend="Mount the volumes in both containers, or mend the proxy, or restore with --only database.",
                ) from error
        return [f"{len(local)} files go to shared volumes, {len(remote)} through Docker, with room for all of them"]

    def _check_spool(self, files: Sequence[File]) -> None:
        # What is there is kept beside what is new, and nobody knows its size: as much again is a guess.
        needed = 2 * sum(file.size + ENTRY_COST for file in files)
        free = shutil.disk_usage(self._spool.parent).free
        if free < needed:
            raise Refused(
                f"{self._spool.parent} has {free} bytes free, the files that go through Docker need {needed}",
                mend="Make room in BACKUP_STATE_DIR, or mount more of Kimai's volumes in both containers.",
            )

    def compare(self, files: Sequence[File], also: Sequence[str]) -> Compared:
        """Which of these files are lost, on the volumes and in the container."""
        compared, shares = Compared(), self._shares(also)
        local = [file for file in files if shares.is_local(file.path)]
        if local:
            compare_local(self.root, local, compared)
        remote = [file for file in files if not shares.is_local(file.path)]
        compare_archived(self._engine, self.app.id, self._root, remote, compared)
        return compared

    def staging(
        self, run_id: str, also: Sequence[str], keep_beside: dict[str, str], lost: Sequence[File] = ()
    ) -> "ContainedStaging":
        """Where the files go: staged on their volumes, or collected for an upload."""
        shares = self._shares(also)
        beside = {path + BESIDE_SUFFIX for path in shares.remote if path.startswith(".env")}
        # What lies on shared volumes is no matter of the upload: taking it back would undo what was put back there.
        remote = outermost({*shares.remote, *shares.hidden, *beside})
        here = [file for file in lost if shares.is_local(file.path)]
        if lost:
            allowed = [path.encode() for path in remote]
            paths = (allowed_path(file, allowed)[0] for file in lost if file not in here)
            remote = outermost(os.fsdecode(path) for path in paths)
        upload = Upload(self._engine, self.app.id, self._root, self._spool, remote)
        local = None
        if shares.local and (here or not lost):
            local = Staging(self.root, run_id, also=shares.local, protect=self._exclude, lost=here)
        return ContainedStaging(local, upload, shares, keep_beside)

    def leftovers(self) -> list[Leftover]:
        """What restores that were killed left: on the volumes, and of an upload."""
        found = []
        if self._own and self.root.is_dir():
            found = leftovers(self.root, self._user_data().paths, self._may_be_ours)
        if self._spool.exists():
            sent = (self._spool / BEFORE).exists()
            found.append(Leftover(self._spool.name, "swapping" if sent else "staging", (self._spool,)))
        return found

    def recover(self, run_id: str) -> list[str]:
        """Put back what a killed restore set aside, or what lay in the container before its upload."""
        if run_id != self._spool.name:
            recover(self.root, run_id, self._user_data().paths, self._may_be_ours)
            return []
        new = put_back(self._engine, self.app.id, self._root, self._spool)
        with faults_named(f"{self._spool} can't be deleted"):
            remove(self._spool)
        return [told_to_stay(new)] if new else []

    def finish(self, run_id: str) -> None:
        """Keep for good what a killed restore has put in place, and delete what it set aside."""
        if run_id != self._spool.name:
            finish(self.root, run_id, self._user_data().paths, self._may_be_ours)
            return
        with faults_named(f"{self._spool} can't be deleted"):
            remove(self._spool)

    def _may_be_ours(self, user: int) -> bool:
        """At each start the image's entrypoint gives all that lies below `var/` to Kimai's user.

        Who takes over Kimai could lay such a folder there, and have moved what lies on its volumes: to which it may
        write itself, but for the settings.
        """
        return user == os.geteuid() or user == self.owner()[0]

    def check_cache(self) -> None:
        """Raise `Refused` where no command can be run in the container: Kimai could not be tried afterwards.

        In one that is stopped nobody knows before its start. One that is neither stopped nor runs is refused as well.
        """
        if self.app.status in ("paused", "restarting"):
            raise Refused(
                f"Kimai's container {self.app.name} is {self.app.status}", mend=stop_by_hand(self.app, self.app.status)
            )
        if not self.app.is_running:
            return
        try:
            self._engine.execute(self.app.id, ["true"], deadline=QUERY_DEADLINE, user="0:0")
        except Unreachable as error:
            raise Refused(
                f"Kimai could not be shown to work after the restore: {error}",
                mend="A restore needs the service `restore` and the proxy as they are in compose.example.yml.",
            ) from error

    def empty_cache(self) -> None:
        """Delete all that is in the cache, in the container. Raises `Unreachable`."""
        command = ["find", f"{self._root}/var/cache", "-mindepth", "1", "-delete"]
        outcome = self._engine.execute(self.app.id, command, deadline=QUERY_DEADLINE, user="0:0")
        if outcome.exit_code != 0:
            raise Unreachable(f"Kimai's cache can't be emptied: {outcome.stderr.strip()[:300]}")

    @property
    def mirrors_secret(self) -> bool:
        """The image's entrypoint does, where its environment has no APP_SECRET."""
        return given_secret(self.app.environment) is None

    @property
    def shares_network(self) -> bool:
        """It has a network of its own, where localhost is itself."""
        return False

    @property
    def runs(self) -> bool:
        """Whether the container did when it was found."""
        return self.app.is_running

    @property
    def can_rest(self) -> bool:
        """The container is all of it."""
        return True

    @contextmanager
    def at_rest(self, *, was_running: bool, half: bool = False) -> "Iterator[ContainedRest]":
        """Stop the app; on leaving, however that comes, it runs again if it did, or was started since.

        `half`: only in the latter case.
        """
        rest = ContainedRest(self._engine, self.app, is_wanted=(self.app.is_running or was_running) and not half)
        try:
            rest.stop()
            yield rest
        finally:
            rest.end()

    def effects(self, manifest: Manifest | None, /) -> list[str]:
        """What the image's entrypoint does at each start to whatever database it finds, and when Docker starts it."""
        found = []
        if self.app.restart_policy == "always":
            found.append(
                "Kimai's restart policy is `always`: after a reboot in the midst of this restore Docker would start it "
                "on what is half restored, by `unless-stopped` it would not"
            )
        if self.app.environment.get("ADMINPASS"):
            found.append(
                "ADMINPASS is set: at its start Kimai adds the super admin `admin` if the restored database has none"
            )
        if manifest is None:
            found.append("at its start Kimai migrates the restored database to what its code needs")
        return found

    def _shares(self, also: Sequence[str]) -> Shares:
        return self.shares({*self._user_data().paths, *also})
