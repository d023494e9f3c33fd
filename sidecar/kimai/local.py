"""Kimai on this very machine: its console as a process, run as the user who owns what it writes."""

import errno
import logging
import os
import pwd
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigurationError, Unreachable
from sidecar.kimai.beneath import read_small
from sidecar.kimai.console import OUTPUT_LIMIT, Outcome

log = logging.getLogger(__name__)

GIT_DEADLINE = 20.0
"""Seconds for `git rev-parse`, which only reads a file or two."""

TERMINATION_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

PIPE_GRACE = 1.0
"""Seconds that a pipe may stay open after its command ended, held by something that it left running."""

_CHUNK = 1 << 16
_POLL = 0.05


class LocalConsole:
    """Kimai's `bin/console` below `root`, behind the `Console` protocol.

    The process gets a minimal environment and, where we are root, the owner of `var/` as its user: a cache
    that root wrote could not be used by Kimai's web server. `environment` is added for what Kimai itself is
    to know, such as the DATABASE_URL in force; it never appears in the argument list.
    """

    def __init__(self, root: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._environment = dict(environment or {})

    def run(self, *arguments: str, deadline: float) -> Outcome:
        """Run one command to its end, as `Console.run` says; `deadline` in seconds."""
        command = [*self._command(), *arguments]
        owner = _owner_to_become(self._root / "var")
        return _run(command, self._root, owner, self._environment, deadline)

    def _command(self) -> list[str]:
        console = self._root / "bin" / "console"
        try:
            mode = console.stat().st_mode
        except OSError as error:
            at_fault = console if self._root.is_dir() else self._root
            raise ConfigurationError(
                f"KIMAI_DIR {self._root} holds no Kimai: {at_fault}: {error.strerror}",
                mend="Set KIMAI_DIR to the folder that holds Kimai's bin/console.",
            ) from error
        # Root passes every os.access, but only a file with an x bit can be executed.
        return [str(console)] if mode & 0o111 else ["php", str(console)]


def version_file(root: Path) -> str | None:
    """The text of the `version.txt` that Kimai's own images carry; None where there is none."""
    content = read_small(root / "version.txt")
    return None if content is None else content.decode(errors="replace")


def git_revision(root: Path, *, deadline: float = GIT_DEADLINE) -> str | None:
    """The commit checked out in Kimai's folder; None without one, without git, or if git can't tell."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    # As the owner of the checkout, and said to be safe: git refuses another user's folder otherwise.
    owner = _owner_to_become(root / ".git")
    command = [
        "git",
        "-c",
        f"safe.directory={root.resolve()}",
        "-C",
        str(root),
        "rev-parse",
        "--verify",
        "HEAD",
    ]
    try:
        outcome = _run(command, root, owner, {}, deadline)
    except Unreachable as error:
        log.warning("Git revision of Kimai not known: %s", error)
        return None
    revision = outcome.stdout.strip()
    if outcome.exit_code == 0 and len(revision) in (40, 64) and set(revision) <= set("0123456789abcdef"):
        return revision
    log.warning("Git revision of Kimai not known: git ended with exit code %d", outcome.exit_code)
    return None


def _owner_to_become(path: Path) -> os.stat_result | None:
    """Whose user a command is to run as: None for our own, as only root may become another."""
    if os.geteuid() != 0:
        return None
    for candidate in (path, path.parent):
        try:
            status = candidate.stat()
        except FileNotFoundError:
            continue
        return status if status.st_uid != 0 else None
    return None


def _identity(owner: os.stat_result | None) -> tuple[dict[str, Any], str]:
    """What `Popen` needs to become the owner, and that user's home."""
    if owner is None:
        return {}, os.environ.get("HOME", "/")
    try:
        account = pwd.getpwuid(owner.st_uid)
    except KeyError:
        # A number without a name, as in a container: its group can only be the folder's.
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}, "/"
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}, account.pw_dir


def _run(
    command: list[str],
    folder: Path,
    owner: os.stat_result | None,
    environment: Mapping[str, str],
    deadline: float,
) -> Outcome:
    ends = time.monotonic() + deadline
    identity, home = _identity(owner)
    # Built anew, not inherited: our own environment holds the keys of targets and notifications.
    minimal = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "LANG": "C.UTF-8"}
    label = " ".join([Path(command[0]).name, *command[1:]])
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**minimal, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **identity,
        )
    except OSError as error:
        raise Unreachable(f"{command[0]} can't be started: {error.strerror}", mend=_mend(error, owner)) from error
    try:
        stdout, stderr = _drain(process, ends)
        exit_code = process.wait(max(0.0, ends - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        raise Unreachable(
            f"{label} did not end within {deadline:g} seconds and was killed",
            mend="Run it by hand in Kimai's folder to see what it waits for.",
        ) from None
    finally:
        _end(process)
    return Outcome(exit_code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


def _drain(process: "subprocess.Popen[bytes]", ends: float) -> tuple[bytes, bytes]:
    """Read both pipes together to their ends, so that neither can fill up; only the beginning is kept.

    Raises `TimeoutError` at `ends`, a time of `time.monotonic`.
    """
    kept: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    gone_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for pipe in kept:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_POLL):
                _keep(selector, key.fileobj, kept[key.fileobj])
            now = time.monotonic()
            if _has_ended(process):
                gone_at = gone_at or now
                if now > gone_at + PIPE_GRACE:
                    _signal_group(process, signal.SIGKILL)
                    break
            if now > ends:
                raise TimeoutError
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    # Without reaping it: as long as it is a zombie its number, the group's too, can't become another's.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _keep(selector: selectors.BaseSelector, pipe: Any, kept: bytearray) -> None:
    chunk = os.read(pipe.fileno(), _CHUNK)
    if not chunk:
        selector.unregister(pipe)
    kept += chunk[: OUTPUT_LIMIT - len(kept)]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and all that it started in its session, unless it ended by itself."""
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        ends = time.monotonic() + TERMINATION_GRACE
        while not _has_ended(process) and time.monotonic() < ends:
            time.sleep(_POLL)
        _signal_group(process, signal.SIGKILL)
        try:
            process.wait(TERMINATION_GRACE)
        except subprocess.TimeoutExpired:
            log.warning("Process %d can't be killed: it hangs in the kernel", process.pid)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError) as error:
        log.debug("Group %d gets no signal %d: %s", process.pid, number, error)


def _mend(error: OSError, owner: os.stat_result | None) -> str:
    if error.errno == errno.ENOENT:
        return "Install PHP's command line (php), or mend the first line of bin/console."
    if owner is not None and stat.S_ISDIR(owner.st_mode):
        return f"It is run as user {owner.st_uid}, the owner of var/: let that user reach and execute it."
    return "Let the user that runs kimai-backup reach and execute it."
