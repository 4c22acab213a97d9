"""Opens a copy for a poll: whose it is, and whether its tables are what its state says of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bulk_export.errors import UsageError
from bulk_export.output.file_names import JOURNAL, WORKING_DIRECTORY
from bulk_export.pipelines.sync.copied_table import Standing
from bulk_export.pipelines.sync.log import append_entry
from bulk_export.pipelines.sync.merge import MERGE, remove_unused, table_of
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.state import CopyState, read_state, refuse_another, write_state


@dataclass(frozen=True, slots=True)
class OpenedCopy:
    """The state of a copy; what tells the token and address of this run from others; and what is new of both.

    `unproven` is what the copy belongs to once a full sync has shown that a new token or address is the same
    provider's.
    """

    state: CopyState
    source: str
    unproven: Mapping[str, str]


def open_copy(options: SyncOptions) -> OpenedCopy:
    """The state of the copy, that of a new one where there is none. What an earlier run could not log is logged."""
    if (options.output / WORKING_DIRECTORY / JOURNAL).exists():
        raise UsageError(
            f"{options.output} holds an unfinished export.", next_step="Choose another --output for the copy."
        )
    state = read_state(options.output)
    if state is None:
        key = secrets.token_bytes(16)
        state = CopyState({**options.identity(), "key": key.hex(), "token": options.token_mark(key)})
        write_state(options.output, state)
        return OpenedCopy(state, _source_of(state.identity), {})
    mark = options.token_mark(bytes.fromhex(str(state.identity.get("key", ""))))
    asked = {**options.identity(), "key": state.identity.get("key"), "token": mark}
    unproven: dict[str, str] = {}
    found = dict(state.identity)
    if options.accepts_token and found.get("token") != mark:
        unproven["token"] = found["token"] = mark
    if options.moved_from is not None and found.get("base_url") == options.moved_from != asked["base_url"]:
        unproven["base_url"] = found["base_url"] = asked["base_url"]
    if found.get("token") != mark:
        raise UsageError(
            f"{options.output} holds a copy made with another token.",
            kept="Nothing was changed.",
            next_step="If both are of the same provider, add --accept-token once; the copy of another provider"
            " needs another --output.",
        )
    refuse_another(found, asked, options.output)
    if unproven:
        polled = {endpoint.name for endpoint in options.full.endpoints}
        if rest := sorted(set(state.marks) - polled):
            # Some lists are the same for every provider, and prove nothing of the others.
            raise UsageError(
                "Whether another token or address shows the same provider's records has to be seen from the whole copy,"
                f" and this run leaves out {', '.join(rest)}.",
                kept="Nothing was changed.",
                next_step="Name these endpoints, too, in the first run with it.",
            )
        # Whose records come now has to be seen from all of them.
        state = replace(state, marks={name: mark.again() for name, mark in state.marks.items()})
    if state.last is not None:
        append_entry(options.output, state.last)
    return OpenedCopy(state, _source_of(asked), unproven)


def look_at_tables(
    options: SyncOptions, state: CopyState, now: datetime, remarks: list[str]
) -> tuple[CopyState, list[str]]:
    """Compare the tables with the state, and believe the older of both. Clear what a run that died left.

    Returns the state to go on with, and the names of the tables that are gone. Raises DamagedState where a table cannot
    be read.
    """
    gone = []
    names = [endpoint.name for endpoint in options.full.endpoints]
    noted = state.marks
    under_way = {poll.id for poll in state.open.values() if poll.id}
    marks = dict(state.marks)
    for name in names:
        if name not in marks:
            continue
        marks[name] = mark = marks[name].believed(now)
        if mark != noted[name]:
            remarks.append(
                f"{name}: its last poll seems to lie in the future; what a wrong clock may have hidden is asked for"
                " again."
            )
        table = table_of(options, name)
        match table.standing(state.table(name), under_way):
            case Standing.ABSENT:
                # Like an endpoint that is new: changes alone would make a table that lacks everything else.
                del marks[name]
                gone.append(name)
                remarks.append(f"{name}: its table is gone, so everything is fetched again.")
            case Standing.BEHIND:
                marks[name] = mark.again()
                remarks.append(
                    f"{name}: its table is older than the last poll or was changed by something else, so a full"
                    " sync is due."
                )
            case Standing.AHEAD:
                # What is under way by the state was over long ago.
                state = replace(state, open={}, polls=max(state.polls, table.mark.number or 0))
                remarks.append(
                    f"{name}: sync.json is older than the table, as after a restore; changes are asked for from as"
                    " far back as it says."
                )
    state = replace(state, marks=marks)
    died = (options.output / WORKING_DIRECTORY / MERGE).exists() or any(name not in state.tables for name in names)
    if died or state.open:
        remove_unused(options, names)
    return state, gone


def _source_of(identity: Mapping[str, Any]) -> str:
    """What tells the token and the address of a copy from others; the pages of another one are not taken in."""
    return f"{identity['token']} {identity['base_url']}"
