"""The tree of a restore that is not in place yet: every entry written below the run's own folders."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator

from sidecar.errors import Damaged
from sidecar.kimai.beneath import below, exact_path, is_within, open_folder, parent_of, parts_of
from sidecar.kimai.places import Places
from sidecar.kimai.setaside import FolderState, apply_folder, faults_named, opened, staged_path, staging_folder
from sidecar.manifest import File

HOSTILE = "Don't trust this backup."

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class StagedTree:
    """What a run has staged, on each mount (`bases`, in the order in which they were begun).

    `reached` holds every folder that something was staged in, as a path of Kimai's; `strangers` counts the entries
    whose owner could not be given.
    """

    def __init__(self, root: int, run_id: str, places: Places) -> None:
        self.bases: list[bytes] = []
        self.reached: set[bytes] = set()
        self.strangers = 0
        # By where they are staged: above a mount, the same folder is staged twice, and one of the two is scaffolding.
        self._folders: dict[bytes, File | None] = {}
        self._root = root
        self._run_id = run_id
        self._places = places
        self._parent: tuple[bytes, int] | None = None

    def write(self, path: bytes, file: File, chunks: Iterable[bytes]) -> None:
        """Stage one entry; see `Staging.write`."""
        with faults_named(f"{file.path} can't be staged in KIMAI_DIR"):
            parent, name = self._staged_parent(path)
            if file.kind == "folder":
                self._stage_folder(parent, self.staged(path), name, file)
            elif file.kind == "link":
                self._stage_link(parent, name, file)
            else:
                self._stage_file(parent, name, file, chunks)

    def staged(self, path: bytes) -> bytes:
        """Where a path is staged, relative to Kimai's root."""
        return staged_path(path, self._places.base_of(path), self._run_id)

    def close(self) -> None:
        """Close what is open; the tree stays on disk."""
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def finish(self) -> None:
        """Give the staged folders their modes, owners and times, the deepest first: each write below changes them."""
        self.close()
        above = os.fstat(self._root)
        for staged, file in sorted(self._folders.items(), reverse=True):
            if file is None:
                state = FolderState("", 0o755, above.st_uid, above.st_gid, above.st_mtime_ns)
            else:
                state = as_state(file)
                self._may_own(file)
            with faults_named(f"{os.fsdecode(staged)} can't be finished in KIMAI_DIR"):
                apply_folder(self._root, staged, state)

    def begin(self, base: bytes) -> None:
        """Make the run's folder on a mount."""
        if base in self.bases:
            return
        folder = staging_folder(base, self._run_id)
        with faults_named(f"{os.fsdecode(folder)} can't be made in KIMAI_DIR"), opened(self._root, base) as above:
            os.mkdir(parent_of(folder)[1], 0o700, dir_fd=above)
            self.bases.append(base)
            with opened(self._root, folder) as descriptor:
                os.mkdir(b"new", 0o700, dir_fd=descriptor)

    def _staged_parent(self, path: bytes) -> tuple[int, bytes]:
        """The open staged folder that a path goes into, made where it isn't there; kept for the next file."""
        base = self._places.base_of(path)
        self.begin(base)
        folder, name = parent_of(path)
        staged = below(staging_folder(base, self._run_id), b"new")
        if self._parent is not None and self._parent[0] == below(staged, folder):
            return self._parent[1], name
        self.close()
        current = open_folder(self._root, staged)
        reached = b""
        for part in parts_of(folder):
            reached = below(reached, part)
            current = self._enter(current, part, below(staged, reached))
            self.reached.add(reached)
        self._parent = (below(staged, folder), current)
        return current, name

    def _enter(self, current: int, part: bytes, staged: bytes) -> int:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=current)
                self._folders.setdefault(staged, None)
            return open_folder(current, part)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise Damaged(
                f"backup leads through {os.fsdecode(part)!r}, which is no folder in it", mend=HOSTILE
            ) from error
        finally:
            os.close(current)

    def _stage_folder(self, parent: int, staged: bytes, name: bytes, file: File) -> None:
        if self._folders.get(staged) is not None:
            raise named_twice(file)
        if staged not in self._folders:
            with _once(file):
                os.mkdir(name, 0o700, dir_fd=parent)
        self._folders[staged] = file

    def _stage_link(self, parent: int, name: bytes, file: File) -> None:
        target = (file.target or "").encode() if file.target_bytes is None else file.target_bytes
        with _once(file):
            os.symlink(target, name, dir_fd=parent)
        if self._may_own(file):
            os.chown(name, file.uid, file.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(file.mtime, file.mtime), dir_fd=parent, follow_symlinks=False)

    def _stage_file(self, parent: int, name: bytes, file: File, chunks: Iterable[bytes]) -> None:
        with _once(file):
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            digest = hashlib.sha256()
            left = file.size
            for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[stream.write(rest) :]
            if left or file.sha256 not in (None, digest.hexdigest()):
                raise Damaged(f"{file.path} in the backup is not what its manifest says", mend=HOSTILE)
            if self._may_own(file):
                os.fchown(descriptor, file.uid, file.gid)
            # Another user's rights are not lent by a file that an archive brought.
            os.fchmod(descriptor, file.mode & 0o777)
            os.utime(descriptor, ns=(file.mtime, file.mtime))
            os.fsync(descriptor)

    def _may_own(self, file: File) -> bool:
        if os.geteuid() == 0:
            return True
        self.strangers += (file.uid, file.gid) != (os.geteuid(), os.getegid())
        return False


def allowed_path(file: File, allowed: Iterable[bytes]) -> tuple[bytes, bytes]:
    """A file's exact path, and which of the allowed ones it is or lies below. Raises `Damaged` for any other."""
    path = exact_path(file)
    try:
        parts_of(path)
    except ValueError as error:
        raise Damaged(f"backup names {file.path!r}, which no backup contains", mend=HOSTILE) from error
    top = next((each for each in allowed if is_within(path, each)), None)
    if top is None:
        raise none_of_kimais(file)
    return path, top


def none_of_kimais(file: File) -> Damaged:
    """What a path is that no restore puts anything at."""
    return Damaged(f"backup names {file.path!r}, which is none of Kimai's user data", mend=HOSTILE)


def as_state(file: File) -> FolderState:
    """A folder's record as what `apply_folder` takes."""
    return FolderState(os.fsdecode(exact_path(file)), file.mode, file.uid, file.gid, file.mtime)


@contextlib.contextmanager
def _once(file: File) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise named_twice(file) from error


def named_twice(file: File) -> Damaged:
    """What a path is that comes a second time."""
    return Damaged(f"backup names {file.path!r} twice", mend=HOSTILE)
