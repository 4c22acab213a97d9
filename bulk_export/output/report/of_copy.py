"""What a report says of a copy that sync keeps: from the log of its polls, its state and the footers of its tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from bulk_export.core.text import counted
from bulk_export.core.units import format_duration
from bulk_export.output.report.charts import round_top
from bulk_export.output.report.columns import TableColumns
from bulk_export.output.report.model import (
    Cell,
    Chart,
    Fact,
    Finding,
    Level,
    Name,
    Number,
    Report,
    Section,
    Series,
    Table,
)
from bulk_export.output.report.of_export import (
    FEWEST_COLUMNS,
    FROM_FOOTERS,
    OTHERS,
    column_table,
    moment_text,
    values_section,
)
from bulk_export.output.report.poll_log import CHANGES, Poll
from bulk_export.output.report.value_counts import ColumnValues

# What to do about a damaged table.
NEXT_SYNC = "The next sync fetches what is gone, or says what to do."
_MOST_ROWS = 24
# A copy is late if it is this many times as old as its polls are apart.
_LATE = 3
_ENOUGH = 3
_MOST_DAMAGED = 5


@dataclass(frozen=True, slots=True)
class ListState:
    """When a list was polled last, and when all of it was read last."""

    polled_at: datetime | None
    full_at: datetime | None


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What is known of a copy.

    Attributes:
        identity: What it is a copy of, as its state has it.
        lists: The state of each list.
        unfinished: The kinds of polls that are not finished.
        polls: Its last polls, in order.
        columns: What the footers of the files of each table say, as far as they could be read.
        remark: Why nothing is known of the columns; empty otherwise.
        lost: What is wrong with tables none of which can be read, by list: `its table is gone`.
        now: The present.
        made: When the report was made and by what.
        values: The values of enumerations, by list, if they were counted.
    """

    identity: Mapping[str, Any]
    lists: Mapping[str, ListState]
    unfinished: Sequence[str]
    polls: Sequence[Poll]
    columns: Mapping[str, TableColumns]
    remark: str
    now: datetime
    made: str
    values: Mapping[str, Sequence[ColumnValues]] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)


def damage(facts: CopyFacts) -> str:
    """Which tables of a copy are damaged, in a sentence; empty if none is."""
    found = [f"{name}: {what}" for name, what in facts.lost.items()]
    found += [
        f"{name}: {counted(table.unreadable, 'data file')} missing or damaged"
        for name, table in facts.columns.items()
        if table.unreadable
    ]
    more = f"; and {counted(len(found) - _MOST_DAMAGED, 'more table')}" if len(found) > _MOST_DAMAGED else ""
    return f"{'; '.join(found[:_MOST_DAMAGED])}{more}." if found else ""


def copy_report(facts: CopyFacts, rows: int = 480) -> Report:
    """What a report says of a copy.

    Args:
        facts: What is known of it.
        rows: How many rows all tables of columns have together, about; others have a quarter of that at most.
    """
    polls = facts.polls
    held = sum(table.rows for table in facts.columns.values())
    tables = counted(len(facts.lists), "table")
    size = f"{counted(held, 'row')} in {tables}" if facts.columns else tables
    last = f", as of {moment_text(polls[-1].started_at.isoformat())}" if polls else ""
    return Report(
        title=f"Copy of {facts.identity.get('service')} {facts.identity.get('api_version')}",
        subtitle=f"{size}{last}",
        verdict=_verdict(facts),
        findings=list(_findings(facts)),
        facts=list(_facts(facts, held)),
        details=list(_details(facts)),
        sections=list(_sections(facts, rows)),
        made=facts.made,
    )


def lags(polls: Sequence[Poll]) -> list[float]:
    """How old the copy was just before each poll was merged, in seconds; for the first one, how long it took.

    What the copy shows is as old as the start of the poll before.
    """
    first = [poll.seconds for poll in polls[:1]]
    return first + [
        max(0.0, (after.finished_at - before.started_at).total_seconds()) for before, after in pairwise(polls)
    ]


def _verdict(facts: CopyFacts) -> Finding:
    if wrong := damage(facts):
        return Finding(Level.BAD, f"Not whole. {wrong} {NEXT_SYNC}")
    if not facts.polls:
        return Finding(Level.LOOK, "No poll has finished yet.")
    last = facts.polls[-1]
    age = _age(facts)
    usual = _interval(facts.polls)
    if usual is not None and age > _LATE * usual:
        return Finding(
            Level.LOOK,
            f"The copy shows the service as it was {format_duration(age)} ago,"
            f" although its polls are usually {format_duration(usual)} apart.",
        )
    return Finding(
        Level.FINE, f"Current: the last poll, number {last.number:,}, succeeded, and began {format_duration(age)} ago."
    )


def _findings(facts: CopyFacts) -> Iterator[Finding]:
    disagreeing = {
        name: poll for poll in facts.polls for name, of_list in poll.lists.items() if of_list.consistent is False
    }
    latest = {name: poll for poll in facts.polls for name in poll.lists}
    for name, poll in disagreeing.items():
        if latest[name] is poll:
            yield Finding(Level.LOOK, f"{name}: the data kept changing in its last poll, so a record may be missing.")
    for kind in facts.unfinished:
        what = "full sync" if kind == "full" else "poll for changes"
        yield Finding(Level.LOOK, f"A {what} is not finished. The next sync goes on with it.")
    throttled = sum(poll.throttled for poll in facts.polls)
    if throttled:
        yield Finding(Level.LOOK, f"Requests of these polls that the service answered with 429: {throttled:,}.")
    if facts.remark:
        yield Finding(Level.LOOK, facts.remark)


def _facts(facts: CopyFacts, rows: int) -> Iterator[Fact]:
    polls = facts.polls
    if facts.columns:
        yield Fact("Rows", f"{rows:,}", "those marked as removed included")
    if polls:
        yield Fact("Age", format_duration(_age(facts)), "since the last poll began")
        usual = _interval(polls)
        yield Fact("Polls", f"{polls[-1].number:,}", f"{format_duration(usual)} apart" if usual else "")
        for name in ("inserted", "updated", "removed"):
            yield Fact(name.capitalize(), f"{sum(poll.total(name) for poll in polls):,}", f"in {_shown(polls)}")
        yield Fact("Requests", f"{sum(poll.requests for poll in polls):,}", f"in {_shown(polls)}")


def _details(facts: CopyFacts) -> Iterator[Fact]:
    identity = facts.identity
    yield Fact("Service", f"{identity.get('service')} {identity.get('api_version')}")
    yield Fact("Address", str(identity.get("base_url")))
    yield Fact("Tables", "Delta" if identity.get("format") == "delta" else "Parquet files")
    filters = identity.get("filters")
    # The values of filters are those of a person, perhaps.
    yield Fact("Filters, by name", ", ".join(filters) if isinstance(filters, Mapping) and filters else "none")
    for title, key, nothing in (("Left out", "drop_columns", "nothing"), ("Pseudonyms", "pseudonymise", "none")):
        names = identity.get(key)
        yield Fact(title, ", ".join(map(str, names)) if isinstance(names, Sequence) and names else nothing)


def _sections(facts: CopyFacts, rows: int) -> Iterator[Section]:
    if facts.polls:
        yield Section(
            "Over time",
            "time",
            f"One bar for each of {_shown(facts.polls)}. Times are by the clock of the service, in UTC.",
            charts=list(_charts(facts.polls)),
            tables=[_poll_table(facts.polls)],
        )
    yield Section("Tables", "tables", tables=[_list_table(facts, rows // OTHERS)])
    if facts.columns:
        share = max(FEWEST_COLUMNS, rows // len(facts.columns))
        yield Section(
            "Columns",
            "columns",
            FROM_FOOTERS,
            tables=[
                column_table(name, table.columns, table.rows, share)
                for name, table in list(facts.columns.items())[: rows // OTHERS]
            ],
            is_folded=True,
        )
    yield from values_section(facts.values, rows // OTHERS)


def _charts(polls: Sequence[Poll]) -> Iterator[Chart]:
    times = _times(polls)
    changes = [sum(poll.total(name) for name in CHANGES) for poll in polls]
    tones = {"inserted": 2, "updated": 1, "removed": 3, "deleted": 4}
    yield Chart(
        title="Rows changed by each poll",
        description=", ".join(f"{sum(poll.total(name) for poll in polls):,} {name}" for name in CHANGES)
        + f" in {_shown(polls)}; at most {counted(max(changes), 'change')} in one.",
        top=round_top(max(changes)),
        times=times,
        series=[
            Series(name, tone, _bars([poll.total(name) for poll in polls]))
            for name, tone in tones.items()
            if any(poll.total(name) for poll in polls)
        ],
    )
    ages = [age / 60 for age in lags(polls)]
    yield Chart(
        title="Age of the copy just before each poll, in minutes",
        description=(
            f"How old what the copy showed had become when the poll was merged: {max(ages):,.0f} min at most,"
            f" {statistics.median(ages):,.0f} min usually."
        ),
        top=round_top(max(ages)),
        times=times,
        series=[Series("age", 4, _bars(ages))],
    )
    requests = [poll.requests for poll in polls]
    yield Chart(
        title="Requests of each poll",
        description=f"{counted(sum(requests), 'request')}, at most {max(requests):,} in one poll.",
        top=round_top(max(requests)),
        times=times,
        series=[
            Series("for changes", 1, _bars([0 if poll.kind == "full" else poll.requests for poll in polls])),
            Series("of full syncs", 3, _bars([poll.requests if poll.kind == "full" else 0 for poll in polls])),
        ],
        marks=[(number + 0.5) / len(polls) for number, poll in enumerate(polls) if poll.throttled],
        mark_name="answered 429",
    )


def _bars(values: Sequence[float]) -> list[tuple[float, float, float]]:
    step = 1 / max(1, len(values))
    # With few polls, a bar is not as wide as the screen.
    width = min(0.8 * step, 0.08)
    middles = ((number + 0.5) * step for number in range(len(values)))
    return [(middle - width / 2, middle + width / 2, value) for middle, value in zip(middles, values, strict=True)]


def _times(polls: Sequence[Poll]) -> list[str]:
    shown = [polls[0], polls[len(polls) // 2], polls[-1]] if len(polls) > _ENOUGH else polls
    return [f"{poll.started_at:%d %b %H:%M}" for poll in shown]


def _poll_table(polls: Sequence[Poll]) -> Table:
    ages = dict(zip((poll.number for poll in polls), lags(polls), strict=True))
    rows: list[Sequence[Cell]] = [
        (
            f"{poll.number:,}",
            "full" if poll.kind == "full" else "changes",
            f"{poll.started_at:%d %b %Y, %H:%M}",
            format_duration(poll.seconds),
            *(Number(poll.total(name)) for name in ("inserted", "updated", "removed")),
            Number(poll.requests),
            format_duration(ages[poll.number]),
        )
        for poll in polls[: -_MOST_ROWS - 1 : -1]
    ]
    head = ("Poll", "Kind", "Began", "Took", "Inserted", "Updated", "Removed", "Requests", "Age before")
    return Table("The last polls, the latest first", head, rows, "sync-log.jsonl has all of them.")


def _list_table(facts: CopyFacts, most: int) -> Table:
    rows: list[Sequence[Cell]] = []
    for name, state in list(facts.lists.items())[:most]:
        of_list = [poll.lists[name] for poll in facts.polls if name in poll.lists]
        table = facts.columns.get(name)
        rows.append(
            (
                Name(name),
                Number(None if table is None else table.rows),
                *(Number(sum(getattr(one, count) for one in of_list)) for count in ("inserted", "updated", "removed")),
                _when(state.polled_at),
                _when(state.full_at) if state.full_at else "due",
            )
        )
    head = ("Table", "Rows", "Inserted", "Updated", "Removed", "Last poll", "Last full sync")
    more = f"{len(facts.lists) - most:,} more tables are not shown." if len(facts.lists) > most else ""
    return Table(f"Tables, and what changed in {_shown(facts.polls)}", head, rows, more)


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%d %b %Y, %H:%M}"


def _age(facts: CopyFacts) -> float:
    return max(0.0, (facts.now - facts.polls[-1].started_at).total_seconds())


def _interval(polls: Sequence[Poll]) -> float | None:
    """How far apart the polls usually are, in seconds; None if there are too few."""
    apart = [(after.started_at - before.started_at).total_seconds() for before, after in pairwise(polls)]
    return statistics.median(apart) if len(apart) >= _ENOUGH and statistics.median(apart) > 0 else None


def _shown(polls: Sequence[Poll]) -> str:
    return "the last poll" if len(polls) == 1 else f"the last {len(polls):,} polls" if polls else "no poll"
