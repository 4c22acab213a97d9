"""What every command shares: options from three sources, and errors as lines with an exit code."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from bulk_export.cli.reporting import configure_reporting, report, warnings_as_lines
from bulk_export.cli.streams import lost_output
from bulk_export.cli.value_origins import begin_to_check, name_origins
from bulk_export.core.locations import local_path
from bulk_export.core.version import __version__
from bulk_export.errors import BulkExportError, Interrupted, LocalFailure, UsageError
from bulk_export.progress.console import FORMS, Console, LogFormat

if TYPE_CHECKING:
    from bulk_export.pipelines.settings.sources import SettingsFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command that is ready to run.

    Attributes:
        options: Its options with their defaults.
        console: Where to report.
        progress: Which display to use.
        as_json: Whether standard output gets the summary as JSON.
    """

    options: dict[str, Any]
    console: Console
    progress: str
    as_json: bool = False


def prepare(command: str, line: dict[str, Any]) -> Prepared:
    """Merge the options of a command from the command line, the environment, a settings file and the defaults.

    From here on, this process reports as the options on reporting say, which are not among those returned.

    Args:
        command: The name of the command.
        line: The options from the command line.

    Raises:
        UsageError: A source is unusable, or not trusted.
    """
    # Imported here, like what only failures need below: help starts without all of it.
    from bulk_export.pipelines.declarations import with_defaults
    from bulk_export.pipelines.settings.commands import COMMANDS, settings_of
    from bulk_export.pipelines.settings.origins import Origins
    from bulk_export.pipelines.settings.sources import (
        DEFAULT_FILE,
        find_file,
        options_for,
        read_file,
        resolve,
        unknown_variables,
    )

    on_line = line.pop("config", None)
    config = on_line or os.environ.get("BULK_EXPORT_CONFIG")
    named_by = "--config" if on_line else "BULK_EXPORT_CONFIG"
    file = find_file() if config is None else read_file(local_path(config, named_by))
    profile = line.pop("profile", None) or os.environ.get("BULK_EXPORT_PROFILE") or None
    if file is None and profile is not None:
        raise UsageError(
            f"There is no settings file with the profile {profile!r}.",
            next_step="bulk-export init writes one; --config names one elsewhere.",
        )
    from_file = {} if file is None else options_for(command, file, profile)
    was_found = file is not None and config is None and bool(from_file)
    if file is not None and was_found:
        _refuse_untrusted(file, from_file)
    given = resolve(line, settings_of(command), os.environ, from_file)
    begin_to_check(Origins.of(given, line, os.environ, f"./{DEFAULT_FILE}" if config is None else str(config)))
    options: dict[str, Any] = {**with_defaults(COMMANDS[command], given)}
    form = options.pop("log_format")
    if form not in FORMS:
        raise UsageError(f"There is no log format {form!r}.", next_step=f"Choose from: {', '.join(FORMS)}.")
    has_summary = "quiet" in options
    quiet, verbose = options.pop("quiet", False), options.pop("verbose", False)
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other.", next_step="Leave one of them out.")
    console = configure_reporting(form, debug=options.pop("debug"), verbose=verbose)
    console.is_quiet = quiet
    python = sys.version.partition(" ")[0]
    logger.debug("%s of bulk-export %s, Python %s, %s", command, __version__, python, sys.platform)
    if file is not None and was_found:
        names = sorted(name.replace("_", "-") for name in from_file)
        console.line(f"settings from {file.path}: {', '.join(names)}")
    for message in unknown_variables(os.environ):
        warnings.warn(message, UserWarning, stacklevel=2)
    del options["config"], options["profile"]
    progress = options.pop("progress", "none")
    as_json = options.pop("json") if has_summary else False
    return Prepared(with_fetched_service(options), console, "none" if quiet else progress, as_json)


def with_fetched_service(options: dict[str, Any]) -> dict[str, Any]:
    """Fetch the service if the options name the address of its description, and put it in place of the address."""
    name = options.get("service")
    if not isinstance(name, str) or "://" not in name:
        return options
    import anyio

    from bulk_export.core.process import require_descriptors
    from bulk_export.pipelines import remote_descriptions

    require_descriptors(0)
    return anyio.run(remote_descriptions.with_fetched_service, options)


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code. Every failure ends here, as one or two lines."""
    configure_reporting(_form_in(arguments), debug="--debug" in arguments)
    begin_to_check(None)
    with warnings_as_lines():
        try:
            _require_clock()
            code = typer.main.get_command(app).main(list(arguments), prog_name="bulk-export", standalone_mode=False)
        except BulkExportError as error:
            name_origins(error)
            return report(error)
        except typer.Exit as leaving:
            return leaving.exit_code
        except (KeyboardInterrupt, typer.Abort):
            return report(Interrupted("Interrupted."))
        except typer.TyperException as error:
            from bulk_export.cli.near_misses import explained
            from bulk_export.core.masking import without_passwords

            what, next_step = explained(error)
            return report(UsageError(without_passwords(what), next_step=next_step))
        except BrokenPipeError as error:
            lost_output(error)
            return 0
        except OSError as error:
            from bulk_export.core.process import is_shortage, too_few_descriptors

            if is_shortage(error):
                return report(too_few_descriptors())
            return report(
                LocalFailure(
                    f"Reading or writing on this machine failed: {error.strerror or type(error).__name__}.",
                    next_step="--debug shows where.",
                )
            )
    return code if isinstance(code, int) else 0


def _refuse_untrusted(file: SettingsFile, used: dict[str, Any]) -> None:
    from bulk_export.core.process import state_directory
    from bulk_export.pipelines.settings.trust import refuse_untrusted, trusted_digests

    refuse_untrusted(file, used, lambda: trusted_digests(state_directory()))


def _require_clock() -> None:
    """Raise LocalFailure if the clock shows a time that Python cannot hold: many libraries read it when imported."""
    try:
        time.time()
    except OverflowError:
        raise LocalFailure(
            "The clock of this machine shows a time after the year 2262.", next_step="Set it, then run this again."
        ) from None


def _form_in(arguments: Sequence[str]) -> LogFormat:
    """Find the log format of a command line that has not been parsed yet and may be wrong elsewhere."""
    formats = [after for before, after in itertools.pairwise(arguments) if before == "--log-format"]
    formats += [text.partition("=")[2] for text in arguments if text.startswith("--log-format=")]
    return "json" if "json" in formats else "text"
