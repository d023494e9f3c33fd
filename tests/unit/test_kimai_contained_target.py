"""A Kimai in its container as a restore's target: stopped and started whatever happens, filled where it may be."""

import hashlib
import io
import stat
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from msgspec.structs import replace as replace_struct

from sidecar.archive.names import escape_name
from sidecar.errors import Damaged, Interrupted, Refused, Unreachable
from sidecar.kimai import contained_rest
from sidecar.kimai.contained_rest import ContainedRest
from sidecar.kimai.contained_target import ContainedTarget
from sidecar.kimai.environment import fingerprint
from sidecar.kimai.project import Container, Mount
from sidecar.kimai.upload import BEFORE
from sidecar.manifest import File
from tests.support.container import FakeContainer, held, special, tar_of

APP = Container(
    id="app",
    name="kimai-1",
    image="kimai/kimai2:apache",
    image_id="sha256:1",
    is_running=True,
    status="running",
    health="healthy",
    labels={},
    environment={},
    mounts=(),
)


class FakeEngine:
    """An engine with one container, whose stop may fail after it has worked."""

    def __init__(self, files: FakeContainer | None = None, stop: Callable[[], None] = lambda: None) -> None:
        self.files = files or FakeContainer({})
        self.running = True
        self._stop = stop

    def inspect(self, _container: str) -> Container:
        return replace(APP, is_running=self.running, status="running" if self.running else "exited")

    def stop(self, _container: str) -> None:
        self.running = False
        self._stop()

    def start(self, _container: str) -> None:
        self.running = True

    def fetch(self, container: str, path: str) -> AbstractContextManager[IO[bytes]]:
        return self.files.fetch(container, path)

    def store(self, container: str, path: str, tar: IO[bytes]) -> None:
        self.files.store(container, path, tar)


def target(
    tmp_path: Path,
    engine: FakeEngine,
    app: Container = APP,
    own: Container | None = None,
    root: Path = Path("/opt/kimai"),
) -> ContainedTarget:
    fake: Any = engine
    return ContainedTarget(fake, lambda: app, own, root, escape_name, (), {}, tmp_path / "spool")


def file(path: str, content: bytes = b"") -> File:
    return File(path=path, size=len(content), mode=stat.S_IFREG | 0o644, mtime=0, uid=33, gid=33)


@pytest.mark.parametrize("error", [Interrupted("interrupted by SIGTERM"), Unreachable("no answer in 60 s")])
def test_it_runs_again_where_its_stop_was_cut_short(tmp_path: Path, error: Exception) -> None:
    def cut() -> None:
        raise error

    engine = FakeEngine(stop=cut)
    with pytest.raises(type(error)), target(tmp_path, engine).at_rest(was_running=False):
        raise AssertionError("it was entered")
    assert engine.running


def test_it_runs_again_whatever_fails_while_it_is_stopped(tmp_path: Path) -> None:
    engine = FakeEngine()
    stopped = []

    def fail() -> None:
        with target(tmp_path, engine).at_rest(was_running=False):
            stopped.append(not engine.running)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert stopped == [True]
    assert engine.running


def test_one_that_was_stopped_stays_so_unless_a_killed_restore_had_stopped_it(tmp_path: Path) -> None:
    stopped = replace(APP, is_running=False, status="exited")
    for was_running in (False, True):
        engine = FakeEngine()
        engine.running = False
        with target(tmp_path, engine, stopped).at_rest(was_running=was_running):
            pass
        assert engine.running is was_running


def test_a_rest_knows_that_it_is_to_run_once_it_was_started() -> None:
    engine: Any = FakeEngine()
    rest = ContainedRest(engine, replace(APP, is_running=False, status="exited"), is_wanted=False)
    assert not rest.is_wanted
    rest.start()
    rest.stop()
    rest.end()
    assert rest.is_wanted
    assert engine.running


@pytest.mark.parametrize("status", ["paused", "restarting"])
def test_one_that_neither_runs_nor_is_stopped_is_refused(tmp_path: Path, status: str) -> None:
    with pytest.raises(Refused, match=status) as refused:
        target(tmp_path, FakeEngine(), replace(APP, status=status)).check_cache()
    assert "docker stop kimai-1" in refused.value.mend


def test_nothing_is_dropped_from_under_a_paused_one(tmp_path: Path) -> None:
    engine: Any = FakeEngine()
    engine.inspect = lambda _container: replace(APP, is_running=False, status="paused")
    with pytest.raises(Unreachable, match="paused"), target(tmp_path, engine).at_rest(was_running=True, half=True):
        raise AssertionError("it was entered")


def test_one_that_is_half_replaced_is_not_started_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    with target(tmp_path, engine).at_rest(was_running=True, half=True) as rest:
        assert not engine.running
    assert not engine.running
    assert not rest.is_wanted


def test_a_stop_that_failed_is_tried_again(tmp_path: Path) -> None:
    """What failed may not have stopped it, and what is restored would be dropped from under it."""
    engine: Any = FakeEngine()
    real, tries = engine.stop, []

    def stop(container: str) -> None:
        tries.append(container)
        if len(tries) == 1:
            raise Unreachable("no answer in 60 s")
        real(container)

    engine.stop = stop
    rest = ContainedRest(engine, APP, is_wanted=True)
    with pytest.raises(Unreachable):
        rest.stop()
    rest.stop()
    assert not engine.running


def test_an_upload_leaves_shared_volumes_alone_but_for_what_is_hidden_in_them(tmp_path: Path) -> None:
    """A volume that is shared is put back by renames; the upload's copy of it would come over that."""
    root = tmp_path / "kimai"
    (root / "var/data").mkdir(parents=True)
    data = Mount(f"{root}/var/data", "data", "volume", True)
    fonts = Mount(f"{root}/var/data/fonts", "fonts", "volume", True)
    files = FakeContainer(
        {
            f"{root}/var/data/fonts": tar_of(("fonts", None), ("fonts/old.ttf", b"old")),
            f"{root}/templates/invoice": tar_of(("invoice", None), ("invoice/ümlaut.twig", b"live")),
        }
    )
    own = replace(APP, id="own", mounts=(data,))
    found = target(tmp_path, FakeEngine(files), replace(APP, mounts=(data, fonts)), own, root)
    upload = found.staging("run", [], {})._upload  # the half that goes through Docker
    upload.add(file("var/data/fonts/new.ttf", b"new"), [b"new"])
    upload.add(file("templates/invoice/ümlaut.twig", b"theirs"), [b"theirs"])
    upload.send()
    assert f"{root}/var/data" not in files.asked
    with tarfile.open(tmp_path / "spool" / BEFORE) as kept:
        assert {member.name for member in kept.getmembers() if member.isreg()} == {
            "var/data/fonts/old.ttf",
            "templates/invoice/ümlaut.twig",
        }
    with pytest.raises(Exception, match="none of Kimai's user data"):
        upload.add(file("var/data/shared.pdf"))


def test_once_it_has_settled_a_kill_leaves_nothing_to_put_back(tmp_path: Path) -> None:
    files = FakeContainer({"config/packages/local.yaml": tar_of(("local.yaml", b"live"))})
    found = target(tmp_path, FakeEngine(files))
    staging = found.staging("run", [], {})
    staging.write(file("config/packages/local.yaml", b"new"), [b"new"])
    staging.swap()
    assert [each.state for each in found.leftovers()] == ["swapping"]
    staging.settle()
    assert [each.state for each in found.leftovers()] == ["staging"]
    found.recover("spool")
    assert found.leftovers() == []
    assert len(files.stored) == 1, "nothing was sent back"


@pytest.mark.parametrize(
    ("environment", "with_manifest", "words"),
    [({}, True, []), ({"ADMINPASS": "x"}, True, ["super admin"]), ({}, False, ["migrates"])],
)
def test_what_its_start_does_is_said(
    tmp_path: Path, environment: dict[str, str], with_manifest: bool, words: list[str]
) -> None:
    said: Any = object() if with_manifest else None
    found = target(tmp_path, FakeEngine(), replace(APP, environment=environment)).effects(said)
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("policy", "is_told"), [("always", True), ("unless-stopped", False), ("no", False), ("", False)]
)
def test_a_policy_by_which_docker_would_start_it_half_restored_is_told(
    tmp_path: Path, policy: str, is_told: bool
) -> None:
    said: Any = object()
    found = target(tmp_path, FakeEngine(), replace(APP, restart_policy=policy)).effects(said)
    assert any("unless-stopped" in line for line in found) == is_told


def test_the_secret_in_force_is_read_anew(tmp_path: Path) -> None:
    """A restore, or the image's start, may have changed it since."""
    name = "var/data/.appsecret"
    files = FakeContainer({name: [tar_of((".appsecret", b"before\n")), tar_of((".appsecret", b"after\n"))]})
    found = target(tmp_path, FakeEngine(files))
    assert found.app_secret() == (name, fingerprint("before"))
    assert found.app_secret() == (name, fingerprint("after"))


@pytest.mark.parametrize(
    ("given", "is_mirrored"), [("mine", False), ("", True), ("change_this_to_something_unique", True)]
)
def test_the_secret_that_examples_show_counts_as_none(tmp_path: Path, given: str, is_mirrored: bool) -> None:
    """As for the image's start, which makes one of its own then."""
    app = replace(APP, environment={"APP_SECRET": given})
    found = target(tmp_path, FakeEngine(FakeContainer({"var/data/.appsecret": tar_of((".appsecret", b"own"))})), app)
    assert found.mirrors_secret is is_mirrored
    assert found.app_secret() == (
        ("var/data/.appsecret", fingerprint("own")) if is_mirrored else ("environment", fingerprint("mine"))
    )


def test_a_migration_may_take_longer_than_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained_rest, "HEALTHY_DEADLINE", -1.0)
    monkeypatch.setattr(contained_rest, "POLL", 0.0)
    engine: Any = FakeEngine()
    seen = iter(["starting", "unhealthy", "healthy"])
    engine.inspect = lambda _container: replace(APP, health=next(seen))
    ContainedRest(engine, APP, is_wanted=False).start(migrating=True)
    seen = iter(["starting"] * 5)
    with pytest.raises(Unreachable, match="is starting after -1 seconds"):
        ContainedRest(engine, APP, is_wanted=False).start()


def test_a_file_to_compare_must_be_one(tmp_path: Path) -> None:
    files = FakeContainer({".env": tar_of((".env", b"A=1\n")), "var/data": tar_of(("data", None))})
    found = target(tmp_path, FakeEngine(files))
    with found.open(b".env") as stream:
        assert io.BytesIO(stream.read()).getvalue() == b"A=1\n"
    with pytest.raises(Refused, match="is no file"), found.open(b"var/data"):
        pass


def test_lost_files_are_told_with_a_question_each_and_none_below_a_lost_folder(tmp_path: Path) -> None:
    def sealed(path: str, content: bytes) -> File:
        return replace_struct(file(path, content), sha256=hashlib.sha256(content).hexdigest())

    folder = File(path="templates/invoice", kind="folder", mode=0o755, mtime=0, uid=0, gid=0)
    gone = File(path="var/invoices", kind="folder", mode=0o755, mtime=0, uid=0, gid=0)
    link = File(path="var/data/link", kind="link", mode=0o777, mtime=0, uid=0, gid=0, target="a")
    files = FakeContainer(
        {
            "templates/invoice": tar_of(("invoice", None), ("invoice/other.twig", b"since")),
            "templates/invoice/same.twig": tar_of(("same.twig", b"same")),
            "templates/invoice/other.twig": tar_of(("other.twig", b"since")),
            "var/data/link": tar_of(special("link", tarfile.SYMTYPE, "a")),
            "var/data/pipe": tar_of(special("pipe", tarfile.FIFOTYPE)),
        }
    )
    same, other = sealed("templates/invoice/same.twig", b"same"), sealed("templates/invoice/other.twig", b"then")
    lost, below = sealed("templates/invoice/lost.twig", b"lost"), sealed("var/invoices/lost.twig", b"lost")
    pipe = sealed("var/data/pipe", b"")
    given = [lost, folder, below, same, gone, other, link, pipe]
    found = target(tmp_path, FakeEngine(files)).compare(given, [])
    assert {each.path for each in found.lost} == {lost.path, gone.path, below.path}
    assert {each.path for each in found.equal} == {folder.path, same.path, link.path}
    assert {each.path for each in found.taken} == {other.path, pipe.path}
    assert below.path not in files.asked
    assert all(files.asked.count(path) == 1 for path in ("templates/invoice", same.path))


def test_lost_files_go_through_docker_alone_and_what_lies_beside_them_is_not_fetched(tmp_path: Path) -> None:
    files = FakeContainer({"templates/invoice": tar_of(("invoice", None), ("invoice/mine.twig", b"mine"))})
    found = target(tmp_path, FakeEngine(files))
    lost = [file("templates/invoice/lost.twig", b"lost")]
    with found.staging("run", [], {}, lost) as staging:
        staging.write(lost[0], [b"lost"])
        staging.swap()
        staging.settle()
        staging.clean_up()
    assert staging.kept == []
    assert "templates/invoice" not in files.asked
    ((_, sent),) = files.stored
    assert held(sent).keys() == {"templates/invoice/lost.twig"}


@pytest.mark.parametrize("path", ["bin/console", "var/cache/x", "../etc/passwd"])
def test_a_lost_file_that_is_none_of_kimais_user_data_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(Damaged, match=r"none of Kimai's user data|no backup contains"):
        target(tmp_path, FakeEngine()).staging("run", [], {}, [file(path)])
