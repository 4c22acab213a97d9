"""How this process reports: errors as lines, warnings as lines and, with `--debug`, log messages and tracebacks.

Everything goes to standard error through the console, in the format that `--log-format` asks for.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from bulk_export.core.tenant import current_tenant
from bulk_export.errors import BulkExportError, Interrupted
from bulk_export.progress.console import Console, LogFormat


class _Reporting:
    """The state of this process; a command line runs once in a process."""

    form: LogFormat = "text"
    debug = False


class ConsoleLogHandler(logging.Handler):
    """Writes log records as console lines, without tokens, passwords in URLs and the texts of exceptions.

    Each line goes to what `sys.stderr` is at that moment: a live display replaces it by a stream that prints above
    the display.
    """

    def __init__(self, form: LogFormat) -> None:
        super().__init__(logging.DEBUG)
        self._form = form
        self._masks: list[Callable[[str], str]] = []

    def hide(self, mask: Callable[[str], str]) -> None:
        """Apply a mask to all further messages."""
        self._masks.append(mask)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        from bulk_export.core.masking import without_passwords  # only log messages need it

        try:
            message = record.getMessage()
            for mask in self._masks:
                message = mask(message)
            message = without_passwords(message)
        except Exception:  # noqa: BLE001  # a log message must not stop the work, nor may its arguments be shown
            message = "[a log message that cannot be formatted]"
        console = Console(sys.stderr, self._form)
        level, tenant = record.levelname.lower(), current_tenant.get()
        if self._form == "json":
            console.line(message, level=level, logger=record.name, **({"tenant": tenant} if tenant else {}))
        else:
            # The console writes no level before lines of its own level, `info`; a log message always has one.
            prefix = "info: " if level == "info" else ""
            console.line(f"{prefix}{record.name}: {tenant + ': ' if tenant else ''}{message}", level=level)
        if record.exc_info and record.exc_info[1] is not None:
            console.frames(_frames(record.exc_info[1]))


def configure_reporting(form: LogFormat, *, debug: bool, verbose: bool = False) -> Console:
    """Choose the format of all further lines, and what to show of the log.

    Args:
        form: `text` or `json`.
        debug: Whether to show all log messages, and tracebacks.
        verbose: Whether to show log messages on decisions, without tracebacks.

    Returns:
        The console for such lines.
    """
    _Reporting.form = form
    set_debug(debug=debug)
    if verbose and not debug:
        logger = logging.getLogger("bulk_export")
        logger.setLevel(logging.INFO)
        logger.addHandler(ConsoleLogHandler(form))
    return current_console()


def set_debug(*, debug: bool) -> None:
    """Choose whether to show the package's log messages, and tracebacks with errors."""
    _Reporting.debug = debug
    logger = logging.getLogger("bulk_export")
    for handler in _log_handlers():
        logger.removeHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.NOTSET)
    if debug:
        logger.addHandler(ConsoleLogHandler(_Reporting.form))


def hide_in_logs(mask: Callable[[str], str]) -> None:
    """Apply a mask that hides a token to all further log messages."""
    for handler in _log_handlers():
        handler.hide(mask)


def current_console() -> Console:
    """Return the console on standard error."""
    return Console(sys.stderr, _Reporting.form)


def report(error: BulkExportError) -> int:
    """Report an error, and return its exit code."""
    console = current_console()
    if _Reporting.debug:
        console.frames(_frames(error))
    console.error(error)
    return error.exit_code


def report_defects() -> None:
    """Report exceptions that nobody caught by type and location, without the values that a traceback may quote."""
    sys.excepthook = _report_defect


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings for users as console lines."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        current_console().line(str(message), level="warning")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _log_handlers() -> list[ConsoleLogHandler]:
    handlers = logging.getLogger("bulk_export").handlers
    return [handler for handler in handlers if isinstance(handler, ConsoleLogHandler)]


def _report_defect(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    console = current_console()
    if issubclass(kind, KeyboardInterrupt):
        console.error(Interrupted("Interrupted."))
        return
    if _Reporting.debug:
        console.frames(_frames(error))
    advice = "Please report it with these lines." if _Reporting.debug else "Please report it with what --debug shows."
    console.error(BulkExportError(f"An unexpected {kind.__name__}: this is a defect.", next_step=advice))


def _frames(error: BaseException) -> str:
    """Return where an error and its causes were raised, and their types.

    Their texts are left out, and so are local variables: those of other libraries may hold records or the token.
    """
    lines: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(_frames(cause) + "which led to\n")
    lines.append("Traceback (most recent call last):\n")
    lines.extend(traceback.format_tb(error.__traceback__))
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}\n")
    if isinstance(error, BaseExceptionGroup):
        lines.extend(f"which holds\n{_frames(inner)}" for inner in error.exceptions)
    return "".join(lines)
