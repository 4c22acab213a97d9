"""Options from three places: the command line wins, then the environment, then a TOML file."""

from __future__ import annotations

import difflib
import enum
import functools
import os
import shlex
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.text import decode_text
from bulk_export.errors import UsageError

VARIABLE_PREFIX = "BULK_EXPORT_"
DEFAULT_FILE = "bulk-export.toml"
# Two ways to say one thing: the one said in the stronger place counts.
_EXCLUSIVE = ("environment", "base_url")
_ALSO_VARIABLES = ("token", "config")
_LARGEST = 1 << 20
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class Arity(enum.Enum):
    """What an option takes: one text, any number of texts, or nothing."""

    ONE = "one"
    MANY = "many"
    NOTHING = "nothing"


def resolve(
    line: Mapping[str, Any], known: Mapping[str, Arity], environ: Mapping[str, str], file: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that were given anywhere, by name with underscores. Raises UsageError.

    `line` holds what the command line gave (None or empty: not given), `file` what `options_for` gave.
    """
    spoken = {name: value for name, value in line.items() if value is not None and value != [] and value is not False}
    places = [
        {name: _texts(value) for name, value in spoken.items()},
        {name: _from_variable(name, takes, environ) for name, takes in known.items() if _is_set(name, takes, environ)},
        dict(file),
    ]
    return functools.reduce(_completed_by, places)


def unknown_variables(environ: Mapping[str, str], every: Collection[str]) -> list[str]:
    """What to say of variables that look like options and are none: something was meant by them."""
    remarks = []
    for variable in sorted(environ):
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        if name != variable.lower() and name not in every and name not in _ALSO_VARIABLES:
            near = difflib.get_close_matches(name, every, n=1)
            hint = f"; did you mean {_variable(near[0])}?" if near else ""
            remarks.append(f"the variable {variable} is no option and was not read{hint}")
    return remarks


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A TOML file with options. `opened` is what `fstat` says of the file that was read."""

    path: Path
    document: Mapping[str, Any]
    opened: os.stat_result


def find_file() -> SettingsFile | None:
    """Read `bulk-export.toml` in the working directory, if there is one. Raises UsageError for one that is none."""
    path = Path(DEFAULT_FILE).absolute()
    return read_file(path) if path.is_file() else None


def read_file(path: Path) -> SettingsFile:
    """Read a TOML file. Raises UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            opened, content = os.fstat(file.fileno()), file.read(_LARGEST + 1)
        if len(content) <= _LARGEST:
            return SettingsFile(path, tomllib.loads(decode_text(content)), opened)
        reason = f"is larger than {_LARGEST} bytes"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except tomllib.TOMLDecodeError as error:
        reason = f"is not TOML: {error}"
    except (ValueError, RecursionError):
        reason = "is not TOML"
    raise UsageError(f"The settings file {path} {reason}.", next_step="Repair it, or name another with --config.")


def options_for(
    command: str, file: SettingsFile, known: Mapping[str, Arity], every: Collection[str], commands: Collection[str]
) -> dict[str, Any]:
    """The options for `command` in a file: top-level keys, and those of the table named like the command.

    A top-level key may be an option of another command (`every` names them all), a table belongs to one of
    `commands`. Raises UsageError.
    """
    path, document = file.path, file.document
    tables = {key for key, value in document.items() if isinstance(value, dict) and key in commands}
    shared = {key: value for key, value in document.items() if key not in tables}
    own = document[command] if command in tables else {}
    everywhere = _known_options(path, shared, known, {*known, *every}, commands)
    return _completed_by(_known_options(path, own, known, known, ()), everywhere)


def _completed_by(stronger: Mapping[str, Any], weaker: Mapping[str, Any]) -> dict[str, Any]:
    decided = any(name in stronger for name in _EXCLUSIVE)
    return {name: value for name, value in weaker.items() if not (decided and name in _EXCLUSIVE)} | dict(stronger)


def _known_options(
    path: Path,
    table: Mapping[str, Any],
    known: Mapping[str, Arity],
    allowed: Collection[str],
    commands: Collection[str],
) -> dict[str, Any]:
    """The options of one table that are `known`; those that are merely `allowed` are of other commands."""
    options: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "token":
            raise UsageError(
                f"The settings file {path} holds a token.",
                next_step="Take it out: put it in a file of its own and name that with token-file.",
            )
        if name not in allowed:
            near = difflib.get_close_matches(name, [*allowed, *commands], n=1)
            hint = f"Did you mean {near[0].replace('_', '-')}?" if near else "bulk-export --help lists the options."
            raise UsageError(f"The settings file {path} has an unknown key {key!r}.", next_step=hint)
        if name in known:
            options[name] = _from_toml(path, key, known[name], value)
    return options


def _variable(name: str) -> str:
    return VARIABLE_PREFIX + name.upper()


def _is_set(name: str, takes: Arity, environ: Mapping[str, str]) -> bool:
    """A variable that is set to nothing says nothing, but for a switch it says no."""
    return _variable(name) in environ and (takes is Arity.NOTHING or bool(environ[_variable(name)].strip()))


def _from_variable(name: str, takes: Arity, environ: Mapping[str, str]) -> Any:
    text = environ[_variable(name)]
    if takes is Arity.MANY:
        try:
            return shlex.split(text)
        except ValueError:
            raise UsageError(f"{_variable(name)} has an unclosed quotation mark.") from None
    if takes is Arity.NOTHING:
        lowered = text.strip().lower()
        if lowered not in _YES + _NO:
            raise UsageError(f"{_variable(name)} must be true or false, not {text!r}.")
        return lowered in _YES
    return text


def _from_toml(path: Path, key: str, takes: Arity, value: Any) -> Any:
    if takes is Arity.NOTHING and isinstance(value, bool):
        return value
    if takes is Arity.ONE and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if takes is Arity.ONE and hasattr(value, "isoformat"):
        return value.isoformat()
    if takes is Arity.MANY:
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(element, str) for element in value):
            return value
        if isinstance(value, dict) and key == "filter":
            return [f"{name}={element}" for name, element in value.items()]
    wanted = {Arity.NOTHING: "true or false", Arity.ONE: "a text or a number", Arity.MANY: "a list of texts"}[takes]
    raise UsageError(f"In the settings file {path}, {key} must be {wanted}.")


def _texts(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
