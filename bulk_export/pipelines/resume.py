"""Going on with an unfinished export by its directory alone: what is kept of its arguments, and how they come back."""

from __future__ import annotations

import numbers
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bulk_export.core.locations import scheme_of
from bulk_export.core.model import Limit, Service
from bulk_export.output.run_arguments import RunArguments, read_arguments
from bulk_export.pipelines.arguments import ExportArguments
from bulk_export.pipelines.declarations import declarations

# Never kept; and an output that is a directory, which is where they are kept.
_LEFT_OUT = frozenset({"token"})
# Options that name files, relative to the directory in which the run was begun.
_FILES = frozenset({"token_file", "ca_file", "pseudonym_key_file", "work_dir", "metrics", "lineage"})


def resumable_arguments(endpoints: str | Sequence[str], arguments: Mapping[str, Any]) -> RunArguments | None:
    """Return what an export was given, in a form that can be stored.

    Args:
        endpoints: Names of endpoints.
        arguments: The options with their defaults.

    Returns:
        Options that differ from their defaults, with absolute paths; None if a description was given as an object, or a
        budget with a password, since these cannot be stored.
    """
    kept: dict[str, Any] = {}
    for name, declared in declarations(ExportArguments).items():
        value = arguments[name]
        if name in _LEFT_OUT or value is None or value == declared.default:
            continue
        if name == "output" and scheme_of(value) is None:
            continue
        if (name in _FILES and scheme_of(value) is None) or (
            name == "service" and isinstance(value, str | os.PathLike) and Path(value).is_file()
        ):
            value = os.fspath(Path(value).expanduser().absolute())
        value = _as_text_or_number(value)
        if not isinstance(value, str | int | float | list) or (name == "budget" and "@" in str(value)):
            return None
        kept[name] = value
    names = (endpoints,) if isinstance(endpoints, str) else tuple(endpoints)
    return RunArguments(names, kept)


def _as_text_or_number(value: Any) -> Any:
    """A value that JSON has for one that only Python has; any other as it is."""
    match value:
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Limit():
            return f"{value.requests}/{value.period:f}s"
        case Mapping():
            return [f"{key}={text}" for key, text in value.items()]
        case str() | int() | float():
            return value
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value)
        case Collection() if not isinstance(value, bytes | Service):
            return [str(element) for element in value]
        case _:
            return value


def arguments_to_resume(output: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the endpoints and options with which an unfinished export goes on.

    Args:
        output: Its directory.

    Returns:
        The names of the endpoints, and the options for `export`, without the token.

    Raises:
        UsageError: There is no unfinished export, or it does not say how it was begun.
        DamagedState: What it says cannot be used.
    """
    found = read_arguments(output)
    known = declarations(ExportArguments)
    options = {name: value for name, value in found.options.items() if name in known and name not in _LEFT_OUT}
    return found.endpoints, {"output": output, **options}
