"""What a report says, as values: texts as they are, nothing escaped, and no HTML. `page` makes HTML of it.

Positions in charts are fractions of their width, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How serious a finding is, with the word that says so beside its colour."""

    BAD = "Problem"
    LOOK = "Worth a look"
    FINE = "In order"


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence on the export or the copy."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A value with its name, and perhaps a note below it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """The cell of a name that a service chose."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """The cell of a number, None if it is not known."""

    value: float | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """The cell of a fraction from 0 to 1, shown as a bar beside its text."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """The cell of a stretch of time, shown as a bar; `text` says it in words."""

    first: float
    last: float
    text: str


Cell = str | Name | Number | Share | Span


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first cell of a row is its heading.

    Attributes:
        caption: What it shows.
        head: The headings of its columns.
        rows: Its rows, each with as many cells.
        more: What is said below it, such as how many rows are left out.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of a chart that belong together.

    Attributes:
        name: What they are, for the legend.
        tone: Which of the colours 1 to 4 they have.
        points: Beginning and end of each, and its value.
        is_line: Whether they are joined by a line; bars otherwise.
    """

    name: str
    tone: int
    points: Sequence[tuple[float, float, float]]
    is_line: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of a chart with a meaning of its own: `hold`, `away`, or `break` for time that is left out."""

    first: float
    last: float
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over time.

    Attributes:
        title: What it shows.
        description: The same in a sentence or two, for those who do not see it.
        top: The value at its upper edge, above zero.
        unit: What stands behind the values of the axis.
        times: The texts below it, from left to right.
        series: What is drawn. The bars of several series stand on each other.
        bands: What stands behind them.
        marks: Where something happened, such as a 429, and what it is called.
        numbers: The same as a table.
    """

    title: str
    description: str
    top: float
    times: Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    bands: Sequence[Band] = ()
    marks: Sequence[float] = ()
    mark_name: str = ""
    numbers: Table | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report under a heading; `is_folded` if it is opened on demand."""

    heading: str
    anchor: str
    lead: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes:
        title: What was exported or copied.
        subtitle: Its numbers in a line.
        verdict: The answer to the question whether it is whole.
        findings: Further sentences on it.
        facts: The most important numbers.
        details: Further values.
        sections: Charts and tables.
        made: When it was made and by what.
    """

    title: str
    subtitle: str
    verdict: Finding
    findings: Sequence[Finding]
    facts: Sequence[Fact]
    details: Sequence[Fact]
    sections: Sequence[Section]
    made: str
