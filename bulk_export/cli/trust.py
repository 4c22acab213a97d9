"""`bulk-export trust`."""

from __future__ import annotations

import os
from pathlib import Path

from bulk_export.cli.streams import show
from bulk_export.progress.console import one_line


def trust() -> None:
    """Confirm what bulk-export.toml in this directory says about where requests and the token go.

    Until then, such settings are refused in a file that was found and not named with --config.
    """
    from bulk_export.core.process import state_directory
    from bulk_export.pipelines.settings.trust import trust_found_file

    file, trusted = trust_found_file(Path(), state_directory())
    show(one_line(f"{os.fsdecode(file.path)}: trusted to set {', '.join(trusted) or 'nothing that needs trust'}"))
