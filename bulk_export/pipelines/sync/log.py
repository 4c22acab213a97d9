"""The log of a copy, `sync-log.jsonl`: a JSON object for each poll, on a line of its own.

The log has no version number of its own: entries only gain keys, and readers ignore keys that they do not know.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bulk_export.core.compat.opening import open_file
from bulk_export.core.files import local_failures, open_regular, write_atomically
from bulk_export.output.file_names import SYNC_LOG

LOG = SYNC_LOG
_LONGEST_LINE = 1024 * 1024

# When a poll started and when it finished, by the service's clock.
PollTimes = tuple[datetime, datetime]


def append_entry(directory: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry to the log unless it is there already, after removing a line that a crash left incomplete.

    Raises:
        LocalFailure: The log cannot be written.
    """
    path = directory / LOG
    with local_failures(f"Writing {path}"):
        if os.path.lexists(path) and path.lstat().st_nlink > 1:
            # A second name, as in a backup made of hard links, must keep its contents: append to a copy.
            with os.fdopen(open_regular(path), "rb") as file:
                write_atomically(path, file.read())
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        with os.fdopen(descriptor, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, end - _LONGEST_LINE))
            tail = file.read()
            complete = tail.rfind(b"\n") + 1
            file.truncate(start + complete)
            # All lines at hand are searched: a state restored from a backup may be older than several of them.
            if _poll_of(entry) not in map(_poll_of_line, tail[:complete].split(b"\n")):
                file.seek(0, os.SEEK_END)
                file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def read_poll_times(directory: Path) -> dict[str, tuple[PollTimes, ...]]:
    """Read when each endpoint was polled, in order. Lines that cannot be read are skipped; no log is no polls.

    Raises:
        OSError: The log exists, and cannot be read.
    """
    times: dict[str, dict[datetime, datetime]] = {}
    try:
        with os.fdopen(open_regular(directory / LOG, follows=True), "rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    start, end = (datetime.fromisoformat(entry[name]) for name in ("started_at", "finished_at"))
                    for name in entry["endpoints"]:
                        known = times.setdefault(name, {})
                        known[start] = max(start, end, known.get(start, start))
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
    except FileNotFoundError:
        return {}
    return {name: tuple(sorted(found.items())) for name, found in times.items()}


def _poll_of(entry: Mapping[str, Any]) -> object:
    """The id of the poll of an entry, or its number if an earlier version wrote it without an id."""
    return entry.get("id") or entry.get("poll")


def _poll_of_line(line: bytes) -> object:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return _poll_of(entry) if isinstance(entry, dict) else None
