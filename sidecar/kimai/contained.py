"""A Kimai in its container: version, environment and files, by the Docker engine and by the volumes that are shared."""

import io
import logging
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sidecar.errors import ConfigurationError, Unreachable
from sidecar.kimai import console as asked
from sidecar.kimai.archived import ArchivedFiles, owner_of, read_archived
from sidecar.kimai.beneath import read_small
from sidecar.kimai.code import PLUGINS, archived_plugins, local_plugins
from sidecar.kimai.console import Outcome
from sidecar.kimai.containerfiles import NotThere
from sidecar.kimai.docker import Engine
from sidecar.kimai.environment import KIMAI_VARIABLES, AppSecret, app_secret, effective_environment
from sidecar.kimai.files import walk
from sidecar.kimai.instance import Remark
from sidecar.kimai.project import Container, Listed, choose
from sidecar.kimai.shares import Shares, find_shares
from sidecar.kimai.survey import Escape, Survey
from sidecar.kimai.userdata import LOCAL_YAML, USER_DATA, UserData, user_data
from sidecar.manifest import Kimai, Plugin

log = logging.getLogger(__name__)

_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")

EMPTY_TAR = bytes(1024)
"""Nothing to unpack: storing it only asks whether that is allowed."""


class ContainerConsole:
    """Kimai's `bin/console` in its container, behind the `Console` protocol.

    It runs as the owner of `var/`: a cache that root wrote could not be used by the web server. `environment` is
    added for what Kimai is to know, such as a DATABASE_URL that isn't its own; it never appears in an argument list.
    """

    def __init__(
        self, engine: Engine, app: Callable[[], Container], root: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._engine = engine
        self._app = app
        self._root = root
        self._environment = dict(environment or {})

    def run(self, *arguments: str, deadline: float) -> Outcome:
        """Run one command to its end, as `Console.run` says; `deadline` in seconds."""
        container = self._app()
        try:
            uid, gid = owner_of(self._engine, container.id, f"{self._root}/var")
        except NotThere as error:
            raise ConfigurationError(
                f"container {container.name} ({container.image}) holds no Kimai: there is no {self._root}/var",
                mend="Set KIMAI_CONTAINER or KIMAI_SERVICE to Kimai's own, and KIMAI_DIR to its folder there.",
            ) from error
        try:
            return self._engine.execute(
                container.id,
                [f"{self._root}/bin/console", *arguments],
                deadline=deadline,
                user=f"{uid}:{gid}",
                environment=self._environment,
            )
        except NotThere as error:
            raise Unreachable(f"Kimai's container {container.name} is gone: {error}") from error


class Contained:
    """The Kimai in the container that `find` finds, its root at the same path here and there.

    `own` is the sidecar's own container, None where it doesn't run in one: nothing is shared then. `exclude`: folders
    that aren't Kimai's, such as a target for backups inside it.
    """

    def __init__(
        self,
        engine: Engine,
        find: Callable[[], Container],
        own: Container | None,
        root: Path,
        escape: Escape,
        exclude: Iterable[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._engine = engine
        self._find = find
        self._own = own
        self.root = root
        self._root = str(root)
        self._escape = escape
        self._exclude = tuple(exclude)
        self._read: dict[str, bytes | None] = {}
        self.app = find()
        self.console = ContainerConsole(engine, lambda: self.app, self._root, environment)

    def identify(self) -> Kimai:
        """Version and image. Raises `Unreachable` where neither console nor version.txt tells the version.

        The container is looked for anew: an update makes another one.
        """
        self.app = self._find()
        self._read.clear()
        version, source = asked.read_version(self.console, self.version_file())
        return Kimai(
            version=version, version_source=source, image=self.app.image, image_digest=self.app.image_id or None
        )

    def version_file(self) -> str | None:
        """The text of the image's `version.txt`; None where there is none, or Docker doesn't give it."""
        try:
            content = self.read("version.txt")
        except ConfigurationError as error:
            log.warning("%s", error)
            return None
        return None if content is None else content.decode(errors="replace")

    def environment(self) -> dict[str, str]:
        """Kimai's variables in force: the container's own win over those of the `.env` files."""
        given = {key: value for key, value in self.app.environment.items() if key in KIMAI_VARIABLES}
        try:
            return {**effective_environment(self.read, self._app_env), **given}
        except ConfigurationError as error:
            log.warning("What Kimai's .env files set is not in the backup: %s", error)
            return given

    def plugins(self) -> list[Plugin] | None:
        """The plugins that it loads; None, with a warning, where they can't be read."""
        if self.shares([PLUGINS]).is_local(PLUGINS):
            return local_plugins(self.root, self.read)
        try:
            return archived_plugins(self._engine, self.app.id, self._root)
        except Unreachable as error:
            log.warning("Which plugins Kimai has can't be seen: %s", error)
            return None

    def app_secret(self) -> AppSecret | None:
        """Where the APP_SECRET in force comes from."""
        return app_secret(self.read, self.environment(), process=self.app.environment)

    def survey(self, previous_paths: Sequence[str] = (), previous_missing: Sequence[str] = ()) -> Survey:
        """All of the instance's files: those on shared volumes first, then those that come through the engine."""
        survey = Survey()
        paths, uncovered = self._user_data()
        shares = self.shares(paths)
        hidden = [self.root / path for path in shares.hidden]
        if shares.local:
            exclude = [*self._exclude, *hidden]
            walk(survey, self.root, shares.local, escape=self._escape, exclude=exclude, covered=paths)
        archived = ArchivedFiles(self._engine, self.app.id, self._root, survey, self._escape)
        archived.walk((*shares.remote, *shares.hidden), paths)
        survey.missing += uncovered
        survey.name_missing(previous_paths, previous_missing)
        return survey

    def _user_data(self) -> UserData:
        return user_data(self.root, self.read, self._app_env)

    @property
    def _app_env(self) -> str | None:
        return self.app.environment.get("APP_ENV") or None

    def shares(self, paths: Iterable[str]) -> Shares:
        """Which of the paths lie on shared volumes. Raises `ConfigurationError` where a volume here isn't the app's."""
        return find_shares(self._root, paths, self.app, self._own)

    def read(self, path: str) -> bytes | None:
        """A settings file of Kimai by its path below the root, wherever it lies; see `ReadSmall`."""
        if path not in self._read:
            if self.shares([path]).is_local(path):
                self._read[path] = read_small(self.root / path)
            else:
                self._read[path] = read_archived(self._engine, self.app.id, posixpath.join(self._root, path))
        return self._read[path]

    def own_database_url(self) -> str | None:
        """The DATABASE_URL that Kimai itself uses."""
        return self.environment().get("DATABASE_URL")

    def remarks(self) -> list[Remark]:
        """Which container it is, what is shared, what comes through Docker, and what would be lost with it."""
        image = f"{self.app.image} ({self.app.image_id.removeprefix('sha256:')[:12]})"
        found = [Remark("container", f"{self.app.name}, {image}, {self.app.status}")]
        if self.app.restart_policy == "always":
            seen = "always: after a reboot in the midst of a restore Docker would start Kimai on what is half restored"
            found.append(Remark("restart policy", seen, "Set `restart: unless-stopped` for Kimai's service."))
        shares = self.shares(self._user_data().paths)
        there = [path for path in shares.layer if self._is_there(path)]
        through = [path for path in (*shares.remote, *shares.hidden) if path in USER_DATA or path in there]
        found.append(Remark("shared volumes", ", ".join(shares.local) or "none: all files come through Docker"))
        found.append(Remark("through Docker", ", ".join(through) or "nothing"))
        for path in there:
            seen = f"{path} lies in the container's own layer: it is gone when the container is made anew"
            mend = f"Mount it: ./{posixpath.basename(path)}:{self._root}/{path}"
            found.append(
                Remark("layer", seen, mend if path == LOCAL_YAML else "A backup holds it; a restore puts it back.")
            )
        return [*found, self._writing(shares)]

    def _writing(self, shares: Shares) -> Remark:
        """Whether a restore could write to it from here; what only asks does no harm."""
        closed = [path for path in shares.local if not os.access(f"{self._root}/{path}", os.W_OK)]
        refused = [f"{path} is mounted read-only" for path in closed]
        try:
            self._engine.store(self.app.id, self._root, io.BytesIO(EMPTY_TAR))
        except Unreachable as error:
            refused.append(error.what)
        if not refused:
            return Remark("files for a restore", "volumes and container can be written to; a stop is not tried")
        seen = f"can't be written from here, as it should be for backups: {'; '.join(refused)}"
        return Remark("files for a restore", seen, "A restore runs as a service of its own, see compose.example.yml.")

    def _is_there(self, path: str) -> bool:
        try:
            with self._engine.fetch(self.app.id, f"{self._root}/{path}"):
                return True
        except NotThere:
            return False


def find_app(engine: Engine, container: str | None, service: str | None, own: Container | None) -> Container:
    """The app: by its container's name, else in the sidecar's own compose project. Raises `ConfigurationError`."""
    listed = []
    try:
        if container:
            return engine.inspect(container)
        listed = [_named(engine, each) for each in engine.containers()]
        return engine.inspect(choose(listed, own=own, service=service).id)
    except NotThere as error:
        seen = ", ".join(str(each) for each in (listed or engine.containers())[:10]) or "no container"
        raise ConfigurationError(
            f"there is no container {container or service or 'of Kimai'}: {seen} is there",
            mend="Set KIMAI_CONTAINER to the name of Kimai's container.",
        ) from error


def _named(engine: Engine, listed: Listed) -> Listed:
    """With the image's name as it was started: once a newer image has taken the name, a list shows the ID alone."""
    if not _IMAGE_ID.fullmatch(listed.image):
        return listed
    try:
        return replace(listed, image=engine.inspect(listed.id).image)
    except NotThere:
        return listed


def find_own(engine: Engine, own: str | None) -> Container | None:
    """The sidecar's own container; None outside of one. Raises `Unreachable`."""
    if own is None:
        return None
    try:
        return engine.inspect(own)
    except NotThere:
        # A container of another engine than the one that is asked.
        log.warning("the engine doesn't know the container that kimai-backup runs in: no volume counts as shared")
        return None
