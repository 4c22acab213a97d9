"""`bulk-export trust`."""

from __future__ import annotations

import os

from bulk_export.cli.streams import show
from bulk_export.errors import LocalFailure, UsageError
from bulk_export.progress.console import one_line


def trust() -> None:
    """Confirm what bulk-export.toml in this directory says about where requests and the token go.

    Until then, such settings are refused in a file that was found and not named with --config.
    """
    from bulk_export.cli.config import DEFAULT_FILE, find_file
    from bulk_export.cli.config_trust import decisive_settings, refuse_foreign
    from bulk_export.cli.config_trust import trust as confirm
    from bulk_export.core.process import state_directory

    file = find_file()
    if file is None:
        raise UsageError(f"There is no {DEFAULT_FILE} in this directory.", next_step="Run it where the file is.")
    refuse_foreign(file)
    directory = state_directory()
    if directory is None:
        raise LocalFailure(
            "This user has no home directory, so nothing can be stored.", next_step="Name the file with --config."
        )
    confirm(file, directory)
    decisive = sorted(decisive_settings(file.document))
    show(one_line(f"{os.fsdecode(file.path)}: trusted to set {', '.join(decisive) or 'nothing that needs trust'}"))
