import io
import logging
import subprocess
import sys
import threading

import pytest

from sidecar.report.progress import _amount, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fill_the_disk(stream: io.StringIO) -> None:
    with progress(stream=stream) as shown:
        shown.phase("database")
        shown.phase("files", total=2_000_000)
        shown.advance(1_000_000)
        raise OSError("disk full")


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sidecar")


def test_elsewhere_than_on_a_terminal_each_phase_is_a_log_line_with_its_duration(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = io.StringIO()
    with progress(stream=stream) as shown:
        shown.phase("database", total=3_000_000)
        shown.advance(1_000_000)
        shown.advance(536_000)
        shown.phase("files", unit="items")
        shown.advance()
    assert [message.split(" after ")[0] for message in caplog.messages] == ["database: done", "files: done"]
    assert caplog.messages[0].endswith("s, 1.5 MB")
    assert caplog.messages[1].endswith("s, 1")
    assert stream.getvalue() == ""


def test_a_phase_that_raises_is_never_told_as_done(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match="disk full"):
        fill_the_disk(io.StringIO())
    assert [message.split(" after ")[0] for message in caplog.messages] == [
        "database: done",
        "files: broke off",
    ]


def test_without_a_phase_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with progress(stream=io.StringIO()) as shown:
        shown.advance(5)
    assert caplog.messages == []


def test_several_threads_may_advance(caplog: pytest.LogCaptureFixture) -> None:
    with progress(stream=io.StringIO()) as shown:
        shown.phase("rows", unit="items")
        threads = [threading.Thread(target=lambda: [shown.advance(2) for _ in range(5000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert caplog.messages[0].endswith(", 40,000")


def test_quiet_shows_nothing_even_on_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    stream = Terminal()
    with progress(quiet=True, stream=stream) as shown:
        shown.phase("database", total=10)
        shown.advance(10)
    assert (stream.getvalue(), caplog.messages) == ("", [])


def test_a_terminal_gets_bars_and_no_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    stream = Terminal()
    with progress(stream=stream) as shown:
        shown.advance(5)
        shown.phase("database [bold]", total=2_000_000)
        shown.advance(1_500_000)
        shown.phase("files", unit="items")
        shown.advance(1234)
        shown.phase("nothing at all")
    drawn = stream.getvalue()
    assert "database [bold]" in drawn
    assert "1.5 MB" in drawn
    assert "1,234" in drawn
    assert caplog.messages == []


def test_a_terminal_is_left_in_order_when_the_block_raises() -> None:
    stream = Terminal()
    with pytest.raises(OSError, match="disk full"):
        fill_the_disk(stream)
    assert "1.0 MB of 2.0 MB" in stream.getvalue()
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l") >= 0


def test_results_on_stdout_pass_the_bars_by(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(stream=Terminal()) as shown:
        shown.phase("verify", total=1)
        print('{"ok": true}')
    assert capsys.readouterr().out == '{"ok": true}\n'


def test_rich_is_not_imported_where_no_terminal_is() -> None:
    code = (
        "import io, sys\n"
        "from sidecar.report.progress import progress\n"
        "with progress(stream=io.StringIO()) as shown: shown.phase('x')\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_536_000, "1.5 MB"),
        (219_000_000, "219 MB"),
        (3_000_000_000, "3.0 GB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_bytes_are_shown_in_three_digits(number: int, shown: str) -> None:
    assert _amount(number, "bytes") == shown
