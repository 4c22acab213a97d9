"""What --debug shows: log messages and tracebacks, in the format of the console, without secrets."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
from rich.console import Console as RichConsole

import bulk_export
from bulk_export.cli.reporting import (
    ConsoleLogHandler,
    configure_reporting,
    current_console,
    hide_in_logs,
    report,
    set_debug,
    warnings_as_lines,
)
from bulk_export.core.credentials import Token
from bulk_export.errors import UsageError
from bulk_export.progress.console import Console
from bulk_export.progress.rich_display import RichProgress

LOGGER = logging.getLogger("bulk_export.extract.client")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    configure_reporting("text", debug=False)


def failure(cause: Exception | None = None) -> UsageError:
    """An error that was raised, with a cause that was raised as well."""

    def fail() -> None:
        try:
            if cause is not None:
                raise cause
        except type(cause) as error:
            raise UsageError("What happened.", next_step="What to do.") from error
        raise UsageError("What happened.")

    with pytest.raises(UsageError) as raised:
        fail()
    return raised.value


def test_package_is_silent_by_default() -> None:
    program = "import bulk_export, logging; logging.getLogger('bulk_export.x').error('canary')"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (shown.stdout, shown.stderr) == ("", "")
    handlers = logging.getLogger(bulk_export.__name__).handlers
    assert [type(handler) for handler in handlers] == [logging.NullHandler]


def test_log_lines_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A log line has its level, the logger's name, and no line end inside."""
    configure_reporting("text", debug=True)
    LOGGER.debug("GET %s\nwith a line end", "/statements")
    LOGGER.info("sent")
    configure_reporting("text", debug=False)
    LOGGER.debug("not shown")
    assert capsys.readouterr().err.splitlines() == [
        "debug: bulk_export.extract.client: GET /statements with a line end",
        "info: bulk_export.extract.client: sent",
    ]


def test_log_lines_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--log-format json`, a log message is an object with level, message and logger."""
    configure_reporting("json", debug=True)
    LOGGER.warning("retrying")
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["level"], line["message"], line["logger"]) == ("warning", "retrying", LOGGER.name)


def test_set_debug_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_debug(debug=True)
    set_debug(debug=True)
    LOGGER.debug("once")
    assert capsys.readouterr().err.count("once") == 1


def test_no_secrets_in_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the token in any encoding, nor passwords in URLs, nor the texts of exceptions are shown."""
    configure_reporting("text", debug=True)
    hide_in_logs(Token("canary-token-7f3a").mask)
    LOGGER.debug("sending Bearer %s to redis://u:canary-password@host/0", "canary-token-7f3a")
    LOGGER.debug("hex %s", b"canary-token-7f3a".hex())
    text = "canary-record"
    LOGGER.debug("failed", exc_info=failure(ValueError(text)))
    (handler,) = (one for one in logging.getLogger("bulk_export").handlers if isinstance(one, ConsoleLogHandler))
    handler.emit(logging.LogRecord("x", logging.DEBUG, __file__, 1, "malformed %d", ("canary-argument",), None))
    shown = capsys.readouterr().err
    assert "canary" not in shown
    assert b"canary".hex() not in shown
    assert "builtins.ValueError" in shown
    assert "cannot be formatted" in shown


def test_log_lines_do_not_garble_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a display is up, log lines are printed above it, each on a line of its own."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    configure_reporting("text", debug=True)
    screen = RichConsole(file=terminal, force_terminal=True, width=100, color_system=None)
    display = RichProgress(Console(terminal), screen=screen)
    display.started(["statements"], None, list)
    above = terminal.getvalue()
    LOGGER.debug("a log line")
    after = terminal.getvalue()[len(above) :]
    display.closed()
    # The display is erased (ESC[2K for each of its lines), the line is printed, and the display is drawn again.
    erased, line, drawn = after.partition("debug: bulk_export.extract.client: a log line\n")
    assert line
    assert "\x1b[2K" in erased
    assert "statements" in drawn
    LOGGER.debug("after the display")
    assert terminal.getvalue().endswith("debug: bulk_export.extract.client: after the display\n")


def test_tracebacks_hold_no_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """With --debug, an error is reported with where it was raised, but without the texts of its causes."""
    text = "canary"
    configure_reporting("text", debug=True)
    assert report(failure(KeyError(text))) == 2
    shown = capsys.readouterr().err
    assert "builtins.KeyError" in shown
    assert "which led to" in shown
    assert "canary" not in shown
    assert shown.endswith("bulk_export.errors.UsageError\nbulk-export: What happened.\n  What to do.\n")


def test_errors_without_debug(capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--debug`, an error is a line without a traceback."""
    configure_reporting("text", debug=False)
    assert report(failure()) == 2
    assert capsys.readouterr().err == "bulk-export: What happened.\n"


def test_warnings_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning for users is one line, without the place in the code."""
    with warnings_as_lines():
        warnings.warn("a file can be read by others", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: a file can be read by others\n"
    assert current_console().form == "text"
