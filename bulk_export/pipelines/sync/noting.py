"""What is noted of a poll in the state of the copy, and what is refused before anything is merged."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bulk_export.errors import RemovalRefused, UsageError
from bulk_export.pipelines.sync.merge import Fetched, Taken, missing_from
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.removals import Missing
from bulk_export.pipelines.sync.state import CopyState, OpenPoll, TableMark
from bulk_export.pipelines.sync.watermark import Watermark


def moved(
    state: CopyState,
    taken: Mapping[str, Taken],
    started_at: datetime,
    *,
    is_full: bool,
    resumed: bool,
    doubted: Container[str],
) -> dict[str, Watermark]:
    """The watermarks after a poll.

    Changes that may have been missed are asked for again. A full sync that did not settle, or whose answers are
    `doubted`, counts as a poll, and is due again.
    """
    marks = {}
    for name, one in taken.items():
        mark, settled = state.marks.get(name, Watermark()), one.summary.consistent is not False
        if is_full:
            mark = mark.after_full(started_at, resumed=resumed)
            mark = mark if one.is_whole and name not in doubted else mark.again()
        elif settled:
            mark = mark.after_changes(started_at, resumed=resumed)
        marks[name] = mark
    return marks


def table_marks(state: CopyState, taken: Mapping[str, Taken], removed: str, *, is_full: bool) -> dict[str, TableMark]:
    """What is to be remembered of the tables after a poll that did `removed` with what went away."""
    marks = {}
    for name, one in taken.items():
        done = is_full and one.is_whole
        marks[name] = replace(one.mark, removed=removed if done else state.table(name).removed)
    return marks


def refuse_another_provider(
    options: SyncOptions,
    what: Sequence[str],
    poll: OpenPoll,
    groups: Sequence[Fetched],
    again: Mapping[str, Fetched],
    started_at: datetime,
) -> None:
    """Raise UsageError where too much of what the copy holds is not shown any more, now that `what` is another."""
    for group in groups:
        for name in group.manifest["endpoints"]:
            load = again.get(name, group)
            missing = missing_from(options, poll, load, name, started_at, is_overtaken=False)
            if missing.is_beyond(options.max_removed):
                raise UsageError(
                    f"With another {' and '.join(sorted(what))}, {missing} records of {name} in the copy are not shown"
                    " any more: this looks like another provider's data.",
                    kept="Nothing was changed.",
                    next_step="Choose another --output; if it is the same provider, add --accept-removals.",
                )


def removal_refused(refused: Mapping[str, Missing]) -> RemovalRefused:
    """The error for tables that would have lost too much."""
    tables = ", ".join(f"{missing} in {name}" for name, missing in refused.items())
    return RemovalRefused(
        f"The service does not show records that the copy has, asked twice: {tables}.",
        kept="None of them was removed or marked, everything else was taken in, and the next poll is full.",
        next_step="If they are gone, add --accept-removals once; otherwise wait until the service shows them.",
    )
