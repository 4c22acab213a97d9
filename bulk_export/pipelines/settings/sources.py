"""Options from three sources: the command line wins, then the environment, then a TOML file."""

from __future__ import annotations

import difflib
import functools
import os
import shlex
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.text import decode_text, toml_problem
from bulk_export.errors import UsageError
from bulk_export.pipelines.declarations import Arity
from bulk_export.pipelines.settings.commands import COMMANDS, all_settings, settings_of

VARIABLE_PREFIX = "BULK_EXPORT_"
DEFAULT_FILE = "bulk-export.toml"
# Either names the service, so one from a stronger source displaces the other from a weaker one.
_EXCLUSIVE = ("environment", "base_url")
_ALSO_VARIABLES = ("token", "config", "decoder", "profile")
_PROFILES = "profile"
_LARGEST_FILE = 1 << 20
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def resolve(
    line: Mapping[str, Any], known: Mapping[str, Arity], environ: Mapping[str, str], file: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge the options that were given anywhere.

    Args:
        line: The options from the command line; None, an empty list and False mean that one was not given.
        known: The options to look for in the environment, with their arity.
        environ: The environment variables.
        file: The options from a TOML file, as `options_for` returns them.

    Returns:
        The options that were given, by name with underscores.

    Raises:
        UsageError: A variable holds a text that its option does not take.
    """
    sources = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in given_on(line).items()},
        {name: _from_variable(name, arity, environ) for name, arity in known.items() if _is_set(name, arity, environ)},
        dict(file),
    ]
    return functools.reduce(_completed_by, sources)


def given_on(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given on the command line, which has a value for each."""
    return {name: value for name, value in line.items() if value is not None and value != [] and value is not False}


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that looks like an option but is none: probably a typo."""
    known = all_settings()
    warnings = []
    for variable in sorted(environ):
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        if name != variable.lower() and name not in known and name not in _ALSO_VARIABLES:
            suggestion = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {variable_of(suggestion[0])}?" if suggestion else ""
            warnings.append(f"ignoring the unknown variable {variable}{hint}")
    return warnings


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A TOML file with options. `status` is the `fstat` of the very file that was read."""

    path: Path
    document: Mapping[str, Any]
    status: os.stat_result


def find_file(directory: Path = Path()) -> SettingsFile | None:
    """Read `bulk-export.toml` in a directory, if there is one. Raises UsageError if it cannot be read.

    Args:
        directory: The directory; the one that the process works in by default.
    """
    try:
        path = (directory / DEFAULT_FILE).absolute()
    except FileNotFoundError:
        raise UsageError(
            "The current directory does not exist any more.", next_step="Change to one that does, and run it there."
        ) from None
    return read_file(path) if path.is_file() else None


def read_file(path: Path) -> SettingsFile:
    """Read a TOML file of up to 1 MiB. Raises UsageError if it cannot be read."""
    try:
        with path.open("rb") as file:
            status, content = os.fstat(file.fileno()), file.read(_LARGEST_FILE + 1)
        if len(content) <= _LARGEST_FILE:
            return SettingsFile(path, tomllib.loads(decode_text(content)), status)
        reason = f"is larger than {_LARGEST_FILE} bytes"
    except (OSError, ValueError, RecursionError) as error:
        reason = toml_problem(error)
    raise UsageError(f"The settings file {path} {reason}.", next_step="Repair it, or name another with --config.")


def options_for(command: str, file: SettingsFile, profile: str | None = None) -> dict[str, Any]:
    """Return the options of a command from a file: a profile wins over the command's table, and that over the rest.

    A top-level key, or one of a profile, may name an option of any command; a table is named after a command.

    Args:
        command: The name of the command.
        file: The file.
        profile: The name of a table `[profile.NAME]`.

    Raises:
        UsageError: There is no such profile, or a key is unknown, holds a token, or has a value that its option does
            not take.
    """
    known = settings_of(command)
    tables = {key for key, value in file.document.items() if isinstance(value, dict) and key in COMMANDS}
    shared = {key: value for key, value in file.document.items() if key not in tables and key != _PROFILES}
    own = file.document[command] if command in tables else {}
    for_all = _known_options(file.path, shared, known, allowed=all_settings(), commands=COMMANDS)
    options = _completed_by(_known_options(file.path, own, known, allowed=known, commands=()), for_all)
    if profile is None:
        return options
    chosen = _known_options(file.path, _profile(file, profile), known, allowed=all_settings(), commands=())
    return _completed_by(chosen, options)


def _profile(file: SettingsFile, name: str) -> dict[str, Any]:
    profiles = file.document.get(_PROFILES)
    profiles = profiles if isinstance(profiles, dict) else {}
    profiles = {key: table for key, table in profiles.items() if isinstance(table, dict)}
    if name not in profiles:
        there = f"It has: {', '.join(profiles)}." if profiles else f"Write a table [profile.{name}]."
        raise UsageError(f"The settings file {file.path} has no profile {name!r}.", next_step=there)
    found: dict[str, Any] = profiles[name]
    return found


def _completed_by(stronger: Mapping[str, Any], weaker: Mapping[str, Any]) -> dict[str, Any]:
    decided = any(name in stronger for name in _EXCLUSIVE)
    return {name: value for name, value in weaker.items() if not (decided and name in _EXCLUSIVE)} | dict(stronger)


def _known_options(
    path: Path,
    table: Mapping[str, Any],
    known: Mapping[str, Arity],
    *,
    allowed: Collection[str],
    commands: Collection[str],
) -> dict[str, Any]:
    """Return the options of one table that are `known`; those that are only `allowed` belong to other commands."""
    options: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "token":
            raise UsageError(
                f"The settings file {path} holds a token.",
                next_step="Take it out: put it in a file of its own and name that with token-file.",
            )
        if name not in allowed and name in all_settings():
            raise UsageError(
                f"The settings file {path} gives {key} to a command that has no such option.",
                next_step="Write it at the top of the file, or in the table of a command that has it.",
            )
        if name not in allowed:
            suggestion = difflib.get_close_matches(name, [*allowed, *commands], n=1)
            raise UsageError(
                f"The settings file {path} has an unknown key {key!r}.",
                next_step=f"Did you mean {suggestion[0].replace('_', '-')}?"
                if suggestion
                else "bulk-export --help lists the options.",
            )
        if name in known:
            options[name] = _from_toml(path, key, known[name], value)
    return options


def variable_of(name: str) -> str:
    """The environment variable of an option."""
    return VARIABLE_PREFIX + name.upper()


def _is_set(name: str, arity: Arity, environ: Mapping[str, str]) -> bool:
    """An empty variable counts as not set, except for a switch: there it means no."""
    return variable_of(name) in environ and (arity is Arity.FLAG or bool(environ[variable_of(name)].strip()))


def _from_variable(name: str, arity: Arity, environ: Mapping[str, str]) -> Any:
    text = environ[variable_of(name)]
    if arity is Arity.MULTIPLE:
        try:
            return shlex.split(text)
        except ValueError:
            raise UsageError(
                f"{variable_of(name)} has an unclosed quotation mark.",
                next_step="Close it, or put a backslash before it.",
            ) from None
    if arity is Arity.FLAG:
        lowered = text.strip().lower()
        if lowered not in _YES + _NO:
            raise UsageError(
                f"{variable_of(name)} must be true or false, not {text!r}.", next_step="Correct it, or unset it."
            )
        return lowered in _YES
    return text


def _from_toml(path: Path, key: str, arity: Arity, value: Any) -> Any:
    if arity is Arity.FLAG and isinstance(value, bool):
        return value
    if arity is Arity.SINGLE and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if arity is Arity.SINGLE and hasattr(value, "isoformat"):
        return value.isoformat()
    if arity is Arity.MULTIPLE:
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(element, str) for element in value):
            return value
        if isinstance(value, dict) and key == "filter":
            return [f"{name}={element}" for name, element in value.items()]
    expected = {Arity.FLAG: "true or false", Arity.SINGLE: "a text or a number", Arity.MULTIPLE: "a list of texts"}
    raise UsageError(f"In the settings file {path}, {key} must be {expected[arity]}.", next_step="Correct the file.")
