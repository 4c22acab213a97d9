"""The command that goes on with an unfinished export, for the messages of what ended it."""

from __future__ import annotations

from pathlib import Path

from bulk_export.errors import BegunOtherwise, BulkExportError, Interrupted
from bulk_export.output.run_arguments import resume_command


def name_next_command(error: BulkExportError, output: Path, *, is_resumed: bool) -> None:
    """Complete the next step of an error of an export by the command that goes on, if going on is the next step.

    1. A run that had begun ended for a reason that may pass: that command is enough.
    2. An unfinished export is there that other options began: the command goes on with that one.
    3. Anything else would only come again, or is no matter of this export: nothing is added.

    Args:
        error: The error.
        output: The output directory.
        is_resumed: Whether `resume` was called, so that "the same command" is the one already.
    """
    if not error.can_resume and not isinstance(error, BegunOtherwise):
        return
    command = resume_command(output)
    if command is None:
        return
    if isinstance(error, BegunOtherwise):
        error.next_step = f"{command} goes on with it as it was begun. For another export, choose another --output."
    elif isinstance(error, Interrupted):
        same = f"{error.next_step} {command} is enough for that."
        error.next_step = f"{command} goes on from here." if is_resumed else same
    elif not is_resumed:
        error.next_step = f"{error.next_step} {command} goes on with the same options.".strip()
