"""What is known of a copy, kept beside it: what it is a copy of, the watermarks, and the polls that are under way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bulk_export.core.clock import MOST_READINGS, bounded
from bulk_export.core.files import local_failures, write_atomically
from bulk_export.core.units import format_instant, parse_instant
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import SYNC_STATE, WORKING_DIRECTORY, safe_name
from bulk_export.pipelines.sync.watermark import Rhythm, Watermark

_TOOL, _FORMAT = "bulk-export", 1
_LARGEST = 16 * 1024 * 1024
_KINDS = ("full", "changes")
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST_POLLS = 1 << 53
_LONGEST_PERIOD = 36_525 * 86_400.0


@dataclass(frozen=True, slots=True)
class OpenPoll:
    """A poll that is not done: its number, when it started by our clock, and what it asks from for which endpoints.

    `id` is random: a number comes twice where the state was restored from a backup. It is empty for a poll that an
    earlier version began. `source` tells the token and the address that it was begun with from others.
    """

    number: int
    started_at: datetime
    groups: tuple[tuple[datetime | None, tuple[str, ...]], ...]
    id: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class TableMark:
    """What a table was like after the last poll that it had a part in.

    Its version, where it has one, and the id and the number of the poll that wrote it, where they are known. `removed`
    is what the last full sync did with records that went away.
    """

    version: int | None = None
    poll: str | None = None
    number: int | None = None
    removed: str | None = None


@dataclass(frozen=True, slots=True)
class CopyState:
    """`identity` says what this is a copy of. `open` holds at most one poll of each kind, `last` the last log entry.

    `clock_ahead` is by how many seconds the service's clock was taken to be ahead of ours in the last poll,
    `clock_told` what the last polls were told of that. `tables` has what is known of the table of each endpoint,
    `rhythms` how far its scheduled polls lie apart, and `rhythm` that of endpoints which have none of their own yet.
    """

    identity: Mapping[str, Any]
    marks: Mapping[str, Watermark] = field(default_factory=dict)
    open: Mapping[str, OpenPoll] = field(default_factory=dict)
    polls: int = 0
    clock_ahead: float = 0.0
    last: Mapping[str, Any] | None = None
    tables: Mapping[str, TableMark] = field(default_factory=dict)
    rhythm: Rhythm = field(default_factory=Rhythm)
    clock_told: tuple[float, ...] = ()
    rhythms: Mapping[str, Rhythm] = field(default_factory=dict)

    def rhythm_of(self, name: str, every: timedelta | None = None) -> Rhythm:
        """How far scheduled polls of an endpoint lie apart, which is `every` where that is told."""
        rhythm = self.rhythms.get(name, self.rhythm)
        return rhythm if every is None else replace(rhythm, every=every)

    def table(self, name: str) -> TableMark:
        """What is known of a table; of a copy of an earlier version, what the log entry of its last poll says."""
        if name in self.tables:
            return self.tables[name]
        said = (self.last or {}).get("endpoints", {}).get(name, {}).get("version")
        return TableMark(said if type(said) is int and said >= 0 else None)

    def opened(self, kind: str, poll: OpenPoll) -> CopyState:
        """With a poll of a kind under way."""
        return replace(self, open={**self.open, kind: poll}, polls=poll.number)

    def closed(self, kind: str) -> CopyState:
        """Without the poll of a kind."""
        return replace(self, open={name: poll for name, poll in self.open.items() if name != kind})


def read_state(directory: Path) -> CopyState | None:
    """The state of the copy in a directory, None where there is none. Raises DamagedState or LocalFailure."""
    path = directory / SYNC_STATE
    with local_failures(f"Reading {path}"):
        if not path.exists():
            return None
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    try:
        document = json.loads(content)
        if document["tool"] != _TOOL or document["format"] != _FORMAT:
            raise _damaged(path, "it was written by another version")
        return CopyState(
            identity=_identity_from(document["copy"]),
            marks={safe_name(name): _mark_from(mark) for name, mark in document["endpoints"].items()},
            open={_kind(kind): _open_from(poll) for kind, poll in document["open"].items()},
            polls=_number(document["polls"]),
            clock_ahead=bounded(float(document["clock_ahead"])),
            last=_last_from(document["last"]),
            tables={safe_name(name): _table_from(mark) for name, mark in document.get("tables", {}).items()},
            rhythm=_rhythm_from(document.get("rhythm", {})),
            clock_told=tuple(map(float, document.get("clock_told", [])))[-MOST_READINGS:],
            rhythms={safe_name(name): _rhythm_from(one) for name, one in document.get("rhythms", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, UsageError):
        raise _damaged(path, "it is not whole") from None


def write_state(directory: Path, state: CopyState) -> None:
    """Replace the state, whole and durable when this returns. Raises LocalFailure."""
    document = {
        "tool": _TOOL,
        "format": _FORMAT,
        "copy": dict(state.identity),
        "polls": state.polls,
        "clock_ahead": state.clock_ahead,
        "clock_told": list(state.clock_told),
        "endpoints": {name: _mark_to(mark) for name, mark in state.marks.items()},
        "open": {kind: _open_to(poll) for kind, poll in state.open.items()},
        "last": state.last,
        "tables": {name: asdict(mark) for name, mark in state.tables.items()},
        "rhythm": _rhythm_to(state.rhythm),
        "rhythms": {name: _rhythm_to(rhythm) for name, rhythm in state.rhythms.items()},
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with local_failures(f"Writing the state of the copy in {directory}"):
        write_atomically(directory / SYNC_STATE, text.encode(), scratch=directory / WORKING_DIRECTORY)


def refuse_another(found: Mapping[str, Any], asked: Mapping[str, Any], directory: Path) -> None:
    """Raise UsageError, naming what differs, where a directory holds a copy of something else."""
    differing = sorted(name for name in {*found, *asked} if found.get(name) != asked.get(name))
    if differing:
        shown = "; ".join(f"{name}: {found.get(name)!r}, now {asked.get(name)!r}" for name in differing)
        raise UsageError(
            f"{directory} holds a copy made with other options ({shown}).",
            kept="Nothing was changed.",
            next_step="Use the options it was made with, or choose another --output for another copy.",
        )


def _identity_from(found: Any) -> dict[str, Any]:
    identity = dict(found)
    for name in ("key", "token"):
        if name in identity:
            bytes.fromhex(identity[name])
    return identity


def _kind(name: str) -> str:
    if name not in _KINDS:
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


def _last_from(entry: Any) -> dict[str, Any] | None:
    if entry is None:
        return None
    _number(entry["poll"])
    return dict(entry)


def _table_from(mark: Mapping[str, Any]) -> TableMark:
    version, poll, number = mark["version"], mark["poll"], mark["number"]
    return TableMark(
        None if version is None else _number(version),
        None if poll is None else _id(poll),
        None if number is None else _number(number),
        None if mark.get("removed") is None else str(mark["removed"]),
    )


def _rhythm_from(found: Mapping[str, Any]) -> Rhythm:
    every = found.get("every")
    if every is not None and not 0 < every <= _LONGEST_PERIOD:
        raise ValueError("no period")
    starts = sorted(map(parse_instant, found.get("starts", [])))
    return Rhythm(tuple(starts), None if every is None else timedelta(seconds=every))


def _rhythm_to(rhythm: Rhythm) -> dict[str, Any]:
    every = None if rhythm.every is None else rhythm.every.total_seconds()
    return {"starts": [format_instant(start) for start in rhythm.starts], "every": every}


def _mark_to(mark: Watermark) -> dict[str, Any]:
    return {
        "polls": [format_instant(start) for start in mark.polls],
        "full": None if mark.full is None else format_instant(mark.full),
    }


def _mark_from(mark: Mapping[str, Any]) -> Watermark:
    full = mark["full"]
    polls = tuple(sorted(map(parse_instant, mark["polls"])))
    if len(polls) > 2:
        raise ValueError("more than two starts")
    return Watermark(polls, None if full is None else parse_instant(full))


def _open_to(poll: OpenPoll) -> dict[str, Any]:
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


def _open_from(poll: Mapping[str, Any]) -> OpenPoll:
    groups = [(group["since"], tuple(map(safe_name, group["endpoints"]))) for group in poll["groups"]]
    return OpenPoll(
        number=_number(poll["number"]),
        id=_id(poll["id"]) if poll.get("id") else "",
        started_at=parse_instant(poll["started_at"]),
        groups=tuple((None if since is None else parse_instant(since), names) for since, names in groups),
        source=str(poll.get("source", "")),
    )


def _damaged(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"The state of the copy, {path}, cannot be used: {reason}.",
        kept="Nothing was deleted.",
        next_step="Restore it from a backup, or choose another --output to start a new copy.",
    )
