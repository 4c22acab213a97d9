"""The arguments of an unfinished export, kept beside its working state, so that it can be resumed by its directory.

The token is never among them, and neither is a URL with a password.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.directories import entry_status, opened_directory, ownership_problem
from bulk_export.core.files import local_failures, open_regular, write_atomically
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import ARGUMENTS, MANIFEST, SYNC_STATE, WORKING_DIRECTORY

_FORMAT = 1
_LARGEST = 1 << 20
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class RunArguments:
    """The endpoints and options that a run was given, the options by name with underscores."""

    endpoints: tuple[str, ...]
    options: Mapping[str, Any]


def write_arguments(output: Path, arguments: RunArguments) -> None:
    """Keep the arguments of a run in the working directory of its output, which is there. Raises LocalFailure."""
    document = {"format": _FORMAT, "endpoints": list(arguments.endpoints), "options": dict(arguments.options)}
    with local_failures(f"Writing in {output / WORKING_DIRECTORY}"):
        write_atomically(output / WORKING_DIRECTORY / ARGUMENTS, json.dumps(document, indent=2).encode())


def read_arguments(output: Path) -> RunArguments:
    """Read the arguments of an unfinished export.

    They decide where the token is sent, so they are believed only if nobody else can have written them.

    Raises:
        UsageError: There is no unfinished export, or it was begun without arguments by an earlier version.
        DamagedState: They cannot be used.
    """
    if not output.is_dir():
        what = "is not a directory" if output.exists() else "does not exist"
        raise UsageError(f"{output} {what}.", next_step="Name the directory of an unfinished export.")
    if (output / SYNC_STATE).exists():
        raise UsageError(
            f"{output} holds a copy that sync keeps.",
            next_step="The same sync command goes on with what is unfinished.",
        )
    if not (output / WORKING_DIRECTORY).is_dir():
        done = "a finished export" if (output / MANIFEST).exists() else "no unfinished export"
        within = unfinished_within(output)
        if within:
            raise UsageError(f"{output} is no unfinished export itself.", next_step=within)
        raise UsageError(f"{output} holds {done}.", next_step="There is nothing to resume.")
    with local_failures(f"Reading {output / WORKING_DIRECTORY}"), opened_directory(output) as above:
        working = entry_status(WORKING_DIRECTORY, within=above)
        problem = None if working is None else ownership_problem(working, within=above)
        with opened_directory(WORKING_DIRECTORY, within=above) as directory:
            found = entry_status(ARGUMENTS, within=directory)
            if found is None:
                raise UsageError(
                    f"The export in {output} does not say how it was begun.",
                    next_step="Run the same export command again with this --output: it goes on.",
                )
            problem = problem or ownership_problem(found, within=directory)
            if problem:
                raise DamagedState(
                    f"{output / WORKING_DIRECTORY / ARGUMENTS} cannot be used: it or its directory {problem}.",
                    kept="Nothing was sent.",
                    next_step="Run the export command itself again with this --output: it goes on.",
                )
            with os.fdopen(open_regular(ARGUMENTS, within=directory), "rb") as file:
                content = file.read(_LARGEST)
    try:
        document = json.loads(content)
        arguments = RunArguments(tuple(map(str, document["endpoints"])), dict(document["options"]))
        is_known = document["format"] == _FORMAT
    except (ValueError, KeyError, TypeError, RecursionError):
        is_known = False
    if not is_known:
        raise DamagedState(
            f"{output / WORKING_DIRECTORY / ARGUMENTS} cannot be used.",
            kept="Nothing was sent.",
            next_step="Run the export command itself again with this --output: it goes on.",
        )
    return arguments


def resume_command(output: Path) -> str | None:
    """Return the command that goes on with the export in a directory; None if it does not say how it was begun."""
    try:
        is_known = (output / WORKING_DIRECTORY / ARGUMENTS).exists()
    except OSError:
        return None
    return f"bulk-export resume {shlex.quote(str(output))}" if is_known else None


def unfinished_below(directory: Path) -> Sequence[Path]:
    """The directories with unfinished exports in a directory, those of tenants one level deeper, by name.

    Raises:
        LocalFailure: The directory cannot be read.
    """
    if not directory.is_dir():
        return ()
    with local_failures(f"Reading {directory}"):
        levels = (directory.glob(f"{level}/{WORKING_DIRECTORY}/{ARGUMENTS}") for level in ("*", "*/*"))
        return sorted(path.parent.parent for level in levels for path in level)


def unfinished_within(directory: Path) -> str:
    """Say which unfinished exports a directory holds, as one of tenants does, and what goes on with them.

    Returns:
        The sentences; an empty text if there is none. Raises LocalFailure.
    """
    found = unfinished_below(directory)
    if not found:
        return ""
    names = ", ".join(map(str, found[:_MOST_NAMED]))
    more = f" and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
    command = f"bulk-export resume {shlex.quote(str(found[0]))}"
    if len(found) == 1:
        return f"Unfinished in it: {names}. {command} goes on with it."
    return (
        f"Unfinished in it: {names}{more}. {command} goes on with the first;"
        " if they are of tenants, the command with --tenants that began them goes on with all."
    )
