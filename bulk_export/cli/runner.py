"""What every command shares: settings from three places, a console, and errors as lines with an exit code."""

from __future__ import annotations

import itertools
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import typer

from bulk_export.cli.config import Arity, find_file, options_for, read_file, resolve, unknown_variables
from bulk_export.cli.option_types import COMMANDS, EVERY
from bulk_export.cli.streams import lost_output
from bulk_export.core.masking import without_passwords
from bulk_export.core.process import is_shortage, require_descriptors, too_few_descriptors
from bulk_export.errors import BulkExportError, Interrupted, LocalFailure, UsageError
from bulk_export.progress.console import FORMS, Console


class _State:
    """How this process reports."""

    console: Console | None = None
    debug = False


def begin(
    command: str, line: Mapping[str, Any], known: Mapping[str, Arity], config: Path | None
) -> tuple[dict[str, Any], Console, str]:
    """The options for a command from the line, the environment and a file; where to report; the kind of progress.

    From here on this process reports as the options of display say, which are not among those returned.
    """
    chosen = config
    if chosen is None and os.environ.get("BULK_EXPORT_CONFIG"):
        chosen = Path(os.environ["BULK_EXPORT_CONFIG"])
    file = find_file() if chosen is None else read_file(chosen)
    from_file = {} if file is None else options_for(command, file, known, EVERY, COMMANDS)
    if chosen is None and file is not None and from_file:
        from bulk_export.cli.config_trust import refuse_untrusted, trusted_digests
        from bulk_export.core.process import state_directory

        refuse_untrusted(file, from_file, lambda: trusted_digests(state_directory()))
    options = resolve(line, known, os.environ, from_file)
    _State.debug = bool(options.pop("debug", False))
    form = options.pop("log_format", "text")
    if form not in FORMS:
        raise UsageError(f"There is no log format {form!r}.", next_step=f"Choose from: {', '.join(FORMS)}.")
    _State.console = console = Console(sys.stderr, form)
    if chosen is None and file is not None and from_file:
        console.line(f"settings from {file.path}: {', '.join(sorted(map(_as_option, from_file)))}")
    for remark in unknown_variables(os.environ, EVERY):
        warnings.warn(remark, UserWarning, stacklevel=2)
    kind = options.pop("progress", "auto")
    return with_fetched_service(options), console, kind


def _as_option(name: str) -> str:
    return name.replace("_", "-")


def with_fetched_service(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the service in place of the address of its description, where they name one."""
    name = options.get("service")
    if not isinstance(name, str) or "://" not in name:
        return dict(options)
    import anyio

    from bulk_export.extract.certificates import ca_file_of
    from bulk_export.pipelines.remote_descriptions import fetch_service

    require_descriptors(0)
    ca_file = ca_file_of(options.get("ca_file"))
    insecure = bool(options.get("allow_plain_http", False))
    version = options.get("api_version")
    service = anyio.run(lambda: fetch_service(name, version, allow_plain_http=insecure, ca_file=ca_file))
    return {**options, "service": service}


def remember(*, debug: bool) -> None:
    """For a command without settings: whether to show where errors come from."""
    _State.debug = debug


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command line; its exit code. Everything that goes wrong ends here, in one or two lines."""
    _State.console, _State.debug = Console(sys.stderr, _form_in(arguments)), "--debug" in arguments
    with _warnings_as_lines():
        try:
            _require_clock()
            outcome = typer.main.get_command(app).main(list(arguments), prog_name="bulk-export", standalone_mode=False)
        except BulkExportError as error:
            return _report(error)
        except typer.Exit as leaving:
            return leaving.exit_code
        except (KeyboardInterrupt, typer.Abort):
            return _report(Interrupted("Interrupted."))
        except typer.TyperException as error:
            advice = "bulk-export --help lists commands and options."
            return _report(UsageError(without_passwords(error.format_message()), next_step=advice))
        except BrokenPipeError as error:
            lost_output(error)
            return 0
        except OSError as error:
            if is_shortage(error):
                return _report(too_few_descriptors())
            return _report(
                LocalFailure(
                    f"Reading or writing on this machine failed: {error.strerror or type(error).__name__}.",
                    next_step="--debug shows where.",
                )
            )
    return outcome if isinstance(outcome, int) else 0


def report_defects() -> None:
    """Report what nobody expected by its type and place, without the values that a traceback may quote."""
    sys.excepthook = _report_defect


def _require_clock() -> None:
    """Raise LocalFailure where our clock shows a time that Python cannot hold: much that is imported asks for it."""
    try:
        time.time()
    except OverflowError:
        raise LocalFailure(
            "The clock of this machine shows a time after the year 2262.", next_step="Set it, then run this again."
        ) from None


def _report(error: BulkExportError) -> int:
    if _State.debug:
        _console().frames(_frames(error))
    _console().error(error)
    return error.exit_code


def _report_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _console().error(Interrupted("Interrupted."))
        return
    if _State.debug:
        _console().frames(_frames(error))
    advice = "Please report it with these lines." if _State.debug else "Please report it with what --debug shows."
    _console().error(BulkExportError(f"An unexpected {kind.__name__}: this is a defect.", next_step=advice))


def _console() -> Console:
    return _State.console or Console(sys.stderr)


def _form_in(arguments: Sequence[str]) -> Any:
    """The log format that a line asks for, before it is known to make sense otherwise."""
    asked = [after for before, after in itertools.pairwise(arguments) if before == "--log-format"]
    asked += [text.partition("=")[2] for text in arguments if text.startswith("--log-format=")]
    return "json" if "json" in asked else "text"


def _frames(error: BaseException) -> str:
    """Where an error and those behind it were raised, and of what types they are.

    Their texts are left out, and locals with them: those of other libraries may hold records or the token.
    """
    lines: list[str] = []
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None:
        lines.append(_frames(behind) + "which led to\n")
    lines.append("Traceback (most recent call last):\n")
    lines.extend(traceback.format_tb(error.__traceback__))
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}\n")
    if isinstance(error, BaseExceptionGroup):
        lines.extend(f"which holds\n{_frames(inner)}" for inner in error.exceptions)
    return "".join(lines)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, *_: object, **__: object) -> None:
        _console().line(str(message), level="warning")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
