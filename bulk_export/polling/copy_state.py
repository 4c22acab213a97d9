"""What is known of a copy, kept beside it: what it is a copy of, the watermarks, and the polls that are under way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bulk_export.errors import DamagedState, UsageError
from bulk_export.files import SYNC_STATE, WORKING_DIRECTORY, local_failures, write_atomically
from bulk_export.polling.watermark import Watermark
from bulk_export.units import format_instant, parse_instant

_TOOL, _FORMAT = "bulk-export", 1
_LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpenPoll:
    """A poll that is not done: its number, when it started by our clock, and what it asks from for which endpoints."""

    number: int
    started_at: datetime
    groups: tuple[tuple[datetime | None, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class CopyState:
    """`identity` says what this is a copy of. `open` holds at most one poll of each kind, `last` the last log entry.

    `clock_ahead` is by how many seconds the service's clock was ahead of ours in the last poll.
    """

    identity: Mapping[str, Any]
    marks: Mapping[str, Watermark] = field(default_factory=dict)
    open: Mapping[str, OpenPoll] = field(default_factory=dict)
    polls: int = 0
    clock_ahead: float = 0.0
    last: Mapping[str, Any] | None = None

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
            identity=dict(document["copy"]),
            marks={name: _mark_from(mark) for name, mark in document["endpoints"].items()},
            open={kind: _open_from(poll) for kind, poll in document["open"].items()},
            polls=int(document["polls"]),
            clock_ahead=float(document["clock_ahead"]),
            last=document["last"],
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError):
        raise _damaged(path, "it is not whole") from None


def write_state(directory: Path, state: CopyState) -> None:
    """Replace the state, whole and durable when this returns. Raises LocalFailure."""
    document = {
        "tool": _TOOL,
        "format": _FORMAT,
        "copy": dict(state.identity),
        "polls": state.polls,
        "clock_ahead": state.clock_ahead,
        "endpoints": {name: _mark_to(mark) for name, mark in state.marks.items()},
        "open": {kind: _open_to(poll) for kind, poll in state.open.items()},
        "last": state.last,
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


def _mark_to(mark: Watermark) -> dict[str, Any]:
    return {
        "polls": [format_instant(start) for start in mark.polls],
        "full": None if mark.full is None else format_instant(mark.full),
    }


def _mark_from(mark: Mapping[str, Any]) -> Watermark:
    full = mark["full"]
    return Watermark(tuple(map(parse_instant, mark["polls"])), None if full is None else parse_instant(full))


def _open_to(poll: OpenPoll) -> dict[str, Any]:
    return {
        "number": poll.number,
        "started_at": format_instant(poll.started_at),
        "groups": [
            {"since": None if since is None else format_instant(since), "endpoints": list(names)}
            for since, names in poll.groups
        ],
    }


def _open_from(poll: Mapping[str, Any]) -> OpenPoll:
    return OpenPoll(
        number=int(poll["number"]),
        started_at=parse_instant(poll["started_at"]),
        groups=tuple(
            (None if group["since"] is None else parse_instant(group["since"]), tuple(group["endpoints"]))
            for group in poll["groups"]
        ),
    )


def _damaged(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"The state of the copy, {path}, cannot be used: {reason}.",
        kept="Nothing was deleted.",
        next_step="Restore it from a backup, or choose another --output to start a new copy.",
    )
