"""What every command shares: settings from three places, a console, and errors as lines with an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from bulk_export.cli.parameters import EVERY
from bulk_export.errors import BulkExportError, Interrupted, UsageError
from bulk_export.progress.console import Console
from bulk_export.settings import Takes, read_file, resolve

_LOG_FORMATS = ("text", "json")


def settings(command: str, line: Mapping[str, Any], known: Mapping[str, Takes], config: Path | None) -> dict[str, Any]:
    """The options for a command from the line, the environment and a file."""
    chosen = config
    if chosen is None and os.environ.get("BULK_EXPORT_CONFIG"):
        chosen = Path(os.environ["BULK_EXPORT_CONFIG"])
    return resolve(line, known, os.environ, read_file(chosen, command, known, EVERY))


def console(options: dict[str, Any]) -> tuple[Console, str]:
    """Take the options of display out of `options`: a console on standard error, and the kind of progress."""
    kind = options.pop("progress", "auto")
    form = options.pop("log_format", "text")
    if form not in _LOG_FORMATS:
        raise UsageError(f"There is no log format {form!r}.", next_step="Choose from: text, json.")
    made = Console(sys.stderr, form)
    _State.console = made
    return made, kind


def remember_debug(options: dict[str, Any]) -> None:
    """Take `debug` out of `options`; tracebacks are shown from now on if it was set."""
    _State.debug = bool(options.pop("debug", False))


class _State:
    """How to report an error of this process."""

    console: Console | None = None
    debug = False


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run a command line; its exit code. Everything that goes wrong ends here, in one or two lines."""
    _State.console, _State.debug = None, "--debug" in arguments
    with _warnings_as_lines():
        try:
            outcome = typer.main.get_command(app).main(arguments, prog_name="bulk-export", standalone_mode=False)
        except BulkExportError as error:
            _show_traceback(error)
            _console().error(error)
            return error.exit_code
        except typer.Exit as leaving:
            return leaving.exit_code
        except (KeyboardInterrupt, typer.Abort):
            _console().error(Interrupted("Interrupted."))
            return Interrupted.exit_code
        except typer.TyperException as error:
            text = error.format_message() if isinstance(error, typer.BadParameter.__mro__[2]) else str(error)
            _console().error(UsageError(text, next_step="bulk-export --help lists commands and options."))
            return UsageError.exit_code
    return outcome if isinstance(outcome, int) else 0


def _console() -> Console:
    return _State.console or Console(sys.stderr)


def _show_traceback(error: BaseException) -> None:
    """Frames and names only: locals and the arguments of foreign exceptions may hold what must not be shown."""
    if _State.debug:
        sys.stderr.writelines(["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__)])


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, *_: object, **__: object) -> None:
        _console().line(str(message), level="warning")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def unexpected_errors_without_contents(show: Callable[[str], None]) -> None:
    """Report a defect of ours by its type and place, without the values that tracebacks may quote."""

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        show(f"bulk-export: an unexpected {kind.__name__}; this is a defect, please report it with these lines:")
        show("".join(traceback.format_tb(trace)))

    sys.excepthook = hook
