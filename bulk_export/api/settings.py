"""The configuration file of the command line: one to begin with, and the confirmation of what it says.

Python functions read no configuration file. A program that sets up a machine for the command line makes one, and
confirms it, by these functions.
"""

from __future__ import annotations

import os
from pathlib import Path

from bulk_export.api.argument_checks import checks_arguments
from bulk_export.core.locations import local_path
from bulk_export.core.process import state_directory
from bulk_export.pipelines.settings.sources import DEFAULT_FILE
from bulk_export.pipelines.settings.template import write_template
from bulk_export.pipelines.settings.trust import trust_found_file


@checks_arguments
def init(file: str | os.PathLike[str] = DEFAULT_FILE) -> Path:
    """Write a configuration file for the command line, with all settings in it, each commented out and explained.

    Args:
        file: Where to write it. There must be no such file.

    Returns:
        The file.

    Raises:
        UsageError: The file is there already.
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        LocalFailure: It cannot be written.
    """
    path = local_path(file, "init")
    write_template(path)
    return path


@checks_arguments
def trust(directory: str | os.PathLike[str] = ".") -> list[str]:
    """Confirm what `bulk-export.toml` in a directory says about where requests, the token and rows go.

    Until then, the command line refuses such settings in a file that it found and that was not named with `--config`.
    Whoever changes them has to confirm them again.

    Args:
        directory: The directory of the file.

    Returns:
        The names of the settings that needed it.

    Raises:
        UsageError: There is no such file, it cannot be read, or other users can change it.
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        LocalFailure: The confirmation cannot be stored.
    """
    # The command line works in a directory whose path has no links in it.
    _, confirmed = trust_found_file(local_path(directory, "trust").resolve(), state_directory())
    return confirmed
