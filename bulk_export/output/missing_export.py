"""What a directory is that holds no finished export, said to those who named it for one."""

from __future__ import annotations

from pathlib import Path

from bulk_export.errors import BulkExportError, DamagedState, LocalFailure, UsageError
from bulk_export.output.file_names import MANIFEST, SYNC_STATE, WORKING_DIRECTORY
from bulk_export.output.run_arguments import resume_command, unfinished_within

_NAME_ONE = "Name the directory of a finished export."


def no_finished_export(directory: Path) -> BulkExportError:
    """Return the error for a directory without a manifest.

    1. It does not exist, is no directory, holds a copy of `sync` or no export at all: UsageError.
    2. It holds an unfinished export: DamagedState, with the command that goes on.
    3. It cannot be read: LocalFailure.

    Args:
        directory: The directory.
    """
    try:
        if not directory.exists():
            return UsageError(f"{directory} does not exist.", next_step=_NAME_ONE)
        if not directory.is_dir():
            return UsageError(f"{directory} is not a directory.", next_step=_NAME_ONE)
        if (directory / SYNC_STATE).exists():
            return UsageError(
                f"{directory} holds a copy that sync keeps, which has no manifest.",
                next_step="A poll compares it with the service, a full sync all of it; or name a finished export.",
            )
        if (directory / WORKING_DIRECTORY).is_dir():
            return DamagedState(
                f"The export in {directory} is not finished.",
                kept="Nothing was changed.",
                next_step=how_to_finish(directory),
            )
        within = min((path.parent for path in directory.glob(f"*/{MANIFEST}")), default=None)
        unfinished = unfinished_within(directory)
    except OSError as error:
        return LocalFailure(f"{directory} cannot be read: {error.strerror}.", next_step="Repair access to it.")
    finished = "" if within is None else f"Name one of those in it, like {within}."
    next_step = " ".join(text for text in (finished, unfinished) if text)
    return UsageError(f"{directory} holds no finished export: it has no {MANIFEST}.", next_step=next_step or _NAME_ONE)


def how_to_finish(directory: Path) -> str:
    """Say how the unfinished export in a directory is finished."""
    command = resume_command(directory)
    if command is None:
        return "Run the command that began it again, with this --output: it goes on."
    return f"{command} finishes it."
