"""Names of the files and directories that an export consists of.

    OUTPUT/manifest.json                                     what was exported; written last
    OUTPUT/run.jsonl                                         when its requests were sent
    OUTPUT/report.html                                       its report, with --report or by `bulk-export report`
    OUTPUT/pages.sqlite                                      the archive, with --keep-pages
    OUTPUT/ENDPOINT/part-00000.parquet                       finished parts, in each format
    OUTPUT/.bulk-export/                                     the working directory, removed at the end
        journal.sqlite                                       facts, and what pages there are
        journal.pages                                        the bodies of these pages
        arguments.json                                       the options that the run was given
        parts/ENDPOINT/revision-0/part-00000.parquet         staged parts

With --work-dir, the contents of the working directory are in another place, which `.bulk-export/elsewhere.json` names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bulk_export.errors import UsageError

MANIFEST = "manifest.json"
ARCHIVE = "pages.sqlite"
RUN_LOG = "run.jsonl"
REPORT = "report.html"
WORKING_DIRECTORY = ".bulk-export"
JOURNAL = "journal.sqlite"
SEGMENT = "journal.pages"
STAGING = "parts"
# Names the directory of the working state, if that is not in the output.
POINTER = "elsewhere.json"
# The options that the run was given.
ARGUMENTS = "arguments.json"
# What a part is called until it is finished.
PARTIAL = ".partial"
# The state of a synced copy. An export is never written where it stands.
SYNC_STATE = "sync.json"
SYNC_LOG = "sync-log.jsonl"

PART_NAME = re.compile(r"part-[0-9]{5,9}\.(?:parquet|csv|ndjson)(?:\.gz|\.zst)?", re.ASCII)
# The directory of one conversion of an endpoint.
REVISION_NAME = re.compile(r"revision-[0-9]{1,9}", re.ASCII)
# How the directory of an endpoint may be called in an export of any version; newer ones are held to `safe_name`.
ENDPOINT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII)
_SAFE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?", re.ASCII)
# Names of devices in Windows, in every directory.
_DEVICE = re.compile(r"con|prn|aux|nul|(?:com|lpt)[0-9]", re.ASCII)


def is_part(name: str) -> bool:
    """Whether a finished part may have this name."""
    return PART_NAME.fullmatch(name) is not None


def is_endpoint(name: str) -> bool:
    """Whether the directory of an endpoint's parts may have this name."""
    return ENDPOINT_NAME.fullmatch(name) is not None


def safe_name(name: str, *, system: str = os.name) -> str:
    """Return `name` if a directory of that name cannot lead anywhere else.

    Args:
        name: The name of an endpoint.
        system: The value of `os.name`: "nt" is Windows, where some names are devices.

    Raises:
        UsageError: It can, or there can be no such directory.
    """
    if system == "nt" and _DEVICE.fullmatch(name):
        raise UsageError(
            f"{name!r} is a device in Windows, so it cannot be the name of a directory.",
            next_step="Give the endpoint another name in the description of the service.",
        )
    if not _SAFE_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a directory.",
            next_step="Endpoint names are lower-case letters, digits, - and _.",
        )
    return name


def named_by_user(output: Path) -> Path:
    """The directory that the user knows: for an export inside a working directory, the one that contains it."""
    return next((above.parent for above in output.parents if above.name == WORKING_DIRECTORY), output)
