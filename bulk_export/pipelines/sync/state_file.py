"""Reads and writes the state of a copy as `sync.json`, checking every value.

The keys are those of the stored format and differ from the names of some fields. Keys that were added later may be
missing; a change that an earlier version could not read raises the number of the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from bulk_export.core.clock import MAX_READINGS, valid_difference
from bulk_export.core.files import local_failures, write_atomically
from bulk_export.core.units import format_instant, parse_instant
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import SYNC_STATE, WORKING_DIRECTORY, safe_name
from bulk_export.pipelines.sync.state import CHANGES, FULL, CopyState, OpenPoll
from bulk_export.pipelines.sync.tables.copy_table import TableMark
from bulk_export.pipelines.sync.watermark import PollSchedule, Watermark

TOOL, FORMAT = "bulk-export", 1
_LARGEST = 16 * 1024 * 1024
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST_POLLS = 1 << 53
_LONGEST_INTERVAL = 36_525 * 86_400.0


def read_state(directory: Path) -> CopyState | None:
    """Read the state of the copy in a directory; None if there is none.

    Raises:
        DamagedState: It cannot be used, or another version of this program wrote it in another format.
        LocalFailure: It cannot be read.
    """
    path = directory / SYNC_STATE
    with local_failures(f"Reading {path}"):
        if not path.exists():
            return None
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    try:
        document = json.loads(content)
        if document["tool"] != TOOL or document["format"] != FORMAT:
            raise _another_format(path, document["format"])
        return CopyState(
            identity=_identity_from(document["copy"]),
            watermarks={safe_name(name): _watermark_from(mark) for name, mark in document["endpoints"].items()},
            open_polls={_kind(kind): _open_poll_from(poll) for kind, poll in document["open"].items()},
            poll_number=_number(document["polls"]),
            clock_ahead=valid_difference(float(document["clock_ahead"])),
            last_entry=_entry_from(document["last"]),
            table_marks={safe_name(name): _mark_from(mark) for name, mark in document.get("tables", {}).items()},
            default_schedule=_schedule_from(document.get("rhythm", {})),
            clock_readings=tuple(map(float, document.get("clock_told", [])))[-MAX_READINGS:],
            schedules={safe_name(name): _schedule_from(kept) for name, kept in document.get("rhythms", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, UsageError):
        raise _unusable(path, "it is not complete, or holds impossible values") from None


def write_state(directory: Path, state: CopyState) -> None:
    """Replace the state; when this returns, the new one is durable.

    Raises:
        LocalFailure: It cannot be written; the old one is still there.
    """
    document = {
        "tool": TOOL,
        "format": FORMAT,
        "copy": dict(state.identity),
        "polls": state.poll_number,
        "clock_ahead": state.clock_ahead,
        "clock_told": list(state.clock_readings),
        "endpoints": {name: _watermark_to(mark) for name, mark in state.watermarks.items()},
        "open": {kind: _open_poll_to(poll) for kind, poll in state.open_polls.items()},
        "last": state.last_entry,
        "tables": {name: _mark_to(mark) for name, mark in state.table_marks.items()},
        "rhythm": _schedule_to(state.default_schedule),
        "rhythms": {name: _schedule_to(schedule) for name, schedule in state.schedules.items()},
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with local_failures(f"Writing the state of the copy in {directory}"):
        write_atomically(directory / SYNC_STATE, text.encode(), scratch=directory / WORKING_DIRECTORY)


def _identity_from(found: Any) -> dict[str, Any]:
    identity = dict(found)
    for name in ("key", "token"):
        if name in identity:
            bytes.fromhex(identity[name])
    return identity


def _kind(name: str) -> str:
    if name not in (FULL, CHANGES):
        raise ValueError("no kind of poll")
    return name


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_POLLS:
        raise ValueError("no number of a poll")
    return value


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("no id of a poll")
    return value


def _entry_from(entry: Any) -> dict[str, Any] | None:
    if entry is None:
        return None
    _number(entry["poll"])
    return dict(entry)


def _mark_from(mark: Mapping[str, Any]) -> TableMark:
    version, poll_id, number = mark["version"], mark["poll"], mark["number"]
    return TableMark(
        None if version is None else _number(version),
        None if poll_id is None else _id(poll_id),
        None if number is None else _number(number),
        None if mark.get("removed") is None else str(mark["removed"]),
    )


def _mark_to(mark: TableMark) -> dict[str, Any]:
    return {"version": mark.version, "poll": mark.poll_id, "number": mark.poll_number, "removed": mark.removed}


def _schedule_from(found: Mapping[str, Any]) -> PollSchedule:
    every = found.get("every")
    if every is not None and not 0 < every <= _LONGEST_INTERVAL:
        raise ValueError("no interval")
    starts = sorted(map(parse_instant, found.get("starts", [])))
    return PollSchedule(tuple(starts), None if every is None else timedelta(seconds=every))


def _schedule_to(schedule: PollSchedule) -> dict[str, Any]:
    every = None if schedule.every is None else schedule.every.total_seconds()
    return {"starts": [format_instant(start) for start in schedule.starts], "every": every}


def _watermark_from(mark: Mapping[str, Any]) -> Watermark:
    full = mark["full"]
    polls = tuple(sorted(map(parse_instant, mark["polls"])))
    if len(polls) > 2:
        raise ValueError("more than two starts")
    return Watermark(polls, None if full is None else parse_instant(full))


def _watermark_to(mark: Watermark) -> dict[str, Any]:
    return {
        "polls": [format_instant(start) for start in mark.polls],
        "full": None if mark.full is None else format_instant(mark.full),
    }


def _open_poll_from(poll: Mapping[str, Any]) -> OpenPoll:
    groups = [(group["since"], tuple(map(safe_name, group["endpoints"]))) for group in poll["groups"]]
    return OpenPoll(
        number=_number(poll["number"]),
        id=_id(poll["id"]) if poll.get("id") else "",
        started_at=parse_instant(poll["started_at"]),
        groups=tuple((None if since is None else parse_instant(since), names) for since, names in groups),
        source=str(poll.get("source", "")),
    )


def _open_poll_to(poll: OpenPoll) -> dict[str, Any]:
    return {
        "number": poll.number,
        "id": poll.id,
        "source": poll.source,
        "started_at": format_instant(poll.started_at),
        "groups": [
            {"since": None if since is None else format_instant(since), "endpoints": list(names)}
            for since, names in poll.groups
        ],
    }


def _another_format(path: Path, found: Any) -> DamagedState:
    if type(found) is int and found > FORMAT:
        return _unusable(
            path,
            f"a newer version of this program wrote it, in format {found}; this one reads format {FORMAT}",
            next_step="Use the version that wrote it, or choose another --output to start a new copy.",
        )
    return _unusable(path, "another program wrote it, or it is damaged")


def _unusable(
    path: Path,
    reason: str,
    *,
    next_step: str = "Restore it from a backup, or choose another --output to start a new copy.",
) -> DamagedState:
    return DamagedState(
        f"The state of the copy, {path}, cannot be used: {reason}.", kept="Nothing was deleted.", next_step=next_step
    )
