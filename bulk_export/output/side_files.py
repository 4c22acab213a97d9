"""Files beside the manifest that are not part of the export: the log of its run, and its report.

They are of one export, so they go with it when it is replaced. A file of that name which this program did not write is
never replaced or removed: its first bytes tell.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

from bulk_export.core.compat.directories import remove_file
from bulk_export.core.directories import entry_status
from bulk_export.core.files import open_regular
from bulk_export.output.file_names import REPORT, RUN_LOG
from bulk_export.output.run_log import is_run_log

# What each report begins with.
REPORT_HEAD = "<!doctype html>\n<!-- bulk-export report -->\n"
_LONGEST_HEAD = 256


def is_report(first_bytes: bytes) -> bool:
    """Whether a file that begins so is a report."""
    return first_bytes.startswith(REPORT_HEAD.encode())


_MARKS: Mapping[str, Callable[[bytes], bool]] = {RUN_LOG: is_run_log, REPORT: is_report}


def may_write(name: str, directory: int, is_ours: Callable[[bytes], bool]) -> bool:
    """Whether a file in an open directory is not there yet, or is one of ours that may be replaced. Raises OSError."""
    if entry_status(name, within=directory) is None:
        return True
    try:
        with os.fdopen(open_regular(name, within=directory), "rb") as file:
            return is_ours(file.read(_LONGEST_HEAD))
    except OSError:
        return False  # a directory, a pipe, a link, or not for us


def remove_side_files(directory: int) -> None:
    """Remove the log and the report of an export that is being replaced from its open directory. Raises OSError."""
    for name, is_ours in _MARKS.items():
        if entry_status(name, within=directory) is not None and may_write(name, directory, is_ours):
            with contextlib.suppress(FileNotFoundError):
                remove_file(name, within=directory)
