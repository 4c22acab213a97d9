"""A report as one HTML file: no script, nothing from elsewhere, and every text escaped.

Names, paths and messages come from a service, which may have chosen them to be HTML. They are escaped wherever they
stand, so they are text; and a policy in the file forbids the browser to load or run anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import count

from bulk_export.core.text import printable
from bulk_export.output.report.charts import chart_svg
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
    Share,
    Span,
    Table,
)
from bulk_export.output.report.style import STYLE
from bulk_export.output.side_files import REPORT_HEAD

LARGEST = 180_000
# How many rows the largest tables have, or fewer if the file becomes too large.
ROWS = (480, 240, 120, 60, 30, 15)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_LONGEST, _LONGEST_NAME, _MOST_FINDINGS = 600, 80, 24
# Tables with more columns are wide.
_NARROW = 5
_LEVEL_CLASSES = {Level.BAD: "bad", Level.LOOK: "look", Level.FINE: "fine"}
_SIGNS = {Level.BAD: "✕", Level.LOOK: "!", Level.FINE: "✓"}
_BAND_NAMES = {
    "hold": "nothing sent after a 429",
    "away": "service away",
    "break": "no run under way, time left out",
}


def html_text(report: Report) -> str:
    """The content of the file."""
    return "\n".join(_page(report)) + "\n"


def fitting_text(make: Callable[[int], Report], largest: int = LARGEST) -> str:
    """The content of a file that stays small, whatever a service has.

    Args:
        make: Makes the report, with about so many rows in its tables.
        largest: The most bytes of the file, unless not even a few rows fit.
    """
    for rows in ROWS:
        text = html_text(make(rows))
        if len(text.encode()) <= largest:
            break
    return text


def _page(report: Report) -> Iterator[str]:
    title = _text(report.title)
    yield REPORT_HEAD + '<html lang="en">'
    yield '<head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
    yield f"<title>{title}</title>"
    yield f"<style>{STYLE}</style></head>"
    yield '<body><a class="skip" href="#content">To the content</a>'
    yield f"<header><h1>{title}</h1><p>{_text(report.subtitle)}</p></header>"
    yield '<main id="content">'
    yield from _verdict(report.verdict, report.findings)
    yield from _facts(report.facts)
    yield from _details(report.details)
    yield from _contents(report.sections)
    numbers = count(1)
    for section in report.sections:
        yield from _section(section, numbers)
    yield f"</main><footer><p>{_text(report.made)}</p></footer></body></html>"


def _verdict(verdict: Finding, findings: Sequence[Finding]) -> Iterator[str]:
    name = _LEVEL_CLASSES[verdict.level]
    yield (
        f'<section class="verdict {name}" aria-label="Is it whole?">{_sign(verdict)}'
        f"<p>{_text(verdict.text)}</p></section>"
    )
    if findings:
        more = len(findings) - _MOST_FINDINGS
        if more > 0:
            findings = [*findings[:_MOST_FINDINGS], Finding(Level.LOOK, f"{more:,} more are not shown.")]
        yield '<section><h2>Worth knowing</h2><ul class="findings">'
        for finding in findings:
            yield f'<li class="{_LEVEL_CLASSES[finding.level]}">{_sign(finding)}<span>{_text(finding.text)}</span></li>'
        yield "</ul></section>"


def _sign(finding: Finding) -> str:
    sign, word = _SIGNS[finding.level], finding.level.value
    return f'<span class="sign" aria-hidden="true">{sign}</span><span class="hidden">{word}: </span>'


def _facts(facts: Sequence[Fact]) -> Iterator[str]:
    yield '<section aria-label="In numbers"><dl class="tiles">'
    for fact in facts:
        note = f'<dd class="note">{_text(fact.note)}</dd>' if fact.note else ""
        yield f"<div><dt>{_text(fact.name)}</dt><dd>{_text(fact.value)}</dd>{note}</div>"
    yield "</dl></section>"


def _details(details: Sequence[Fact]) -> Iterator[str]:
    yield '<section><h2>What it is</h2><dl class="details">'
    for fact in details:
        yield f"<div><dt>{_text(fact.name)}</dt><dd>{_text(fact.value)}</dd></div>"
    yield "</dl></section>"


def _contents(sections: Sequence[Section]) -> Iterator[str]:
    links = "".join(
        f'<li><a href="#{escape(section.anchor)}">{_text(section.heading)}</a></li>' for section in sections
    )
    yield f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _section(section: Section, numbers: Iterator[int]) -> Iterator[str]:
    anchor = escape(section.anchor)
    yield f'<section id="{anchor}"><h2>{_text(section.heading)}</h2>'
    if section.lead:
        yield f"<p>{_text(section.lead)}</p>"
    for chart in section.charts:
        yield from _chart(chart, next(numbers))
    for table in section.tables:
        if section.is_folded:
            yield f"<details><summary>{_text(table.caption)}</summary>"
            yield from _table(table, is_caption_hidden=True)
            yield "</details>"
        else:
            yield from _table(table)
    yield "</section>"


def _chart(chart: Chart, number: int) -> Iterator[str]:
    yield f'<figure><figcaption>{_text(chart.title)}</figcaption><div class="plot">'
    unit = chart.unit
    ticks = "".join(f"<span>{_short(chart.top * share)}{escape(unit)}</span>" for share in (1.0, 0.5, 0.0))
    yield f'<div class="axis-y" aria-hidden="true">{ticks}</div>{chart_svg(chart, number)}'
    times = "".join(f"<span>{_text(time)}</span>" for time in chart.times)
    yield f'<div class="axis-x" aria-hidden="true">{times}</div></div>'
    keys = [(f"tone-{series.tone}", series.name) for series in chart.series]
    kinds = dict.fromkeys(band.kind for band in chart.bands)
    keys += [({"hold": "hold", "away": "away", "break": "gap"}[kind], _BAND_NAMES[kind]) for kind in kinds]
    keys += [("mark", chart.mark_name)] if chart.marks else []
    legend = "".join(
        f'<li><svg aria-hidden="true" viewBox="0 0 10 10"><rect class="{name}" width="10" height="10"/></svg>'
        f"{_text(text)}</li>"
        for name, text in keys
    )
    yield f'<ul class="legend">{legend}</ul>'
    if chart.numbers is not None:
        yield "<details><summary>The numbers</summary>"
        yield from _table(chart.numbers)
        yield "</details>"
    yield "</figure>"


def _table(table: Table, *, is_caption_hidden: bool = False) -> Iterator[str]:
    # What is wider than the screen scrolls on its own, by keyboard, too; its lines need not be broken.
    wide = ' class="wide"' if len(table.head) > _NARROW else ""
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.caption)}"><table{wide}>'
    hidden = ' class="hidden"' if is_caption_hidden else ""
    yield f"<caption{hidden}>{_text(table.caption)}</caption>"
    kinds = [type(cell) for cell in table.rows[0]] if table.rows else [str] * len(table.head)
    heads = (f'<th scope="col"{_align(kind)}>{_text(name)}</th>' for name, kind in zip(table.head, kinds, strict=True))
    yield f"<thead><tr>{''.join(heads)}</tr></thead><tbody>"
    for first, *rest in table.rows:
        yield f'<tr><th scope="row">{_cell(first)}</th>{"".join(map(_data, rest))}</tr>'
    yield "</tbody></table></div>"
    if table.more:
        yield f'<p class="note">{_text(table.more)}</p>'


def _data(cell: Cell) -> str:
    return f"<td{_align(type(cell))}>{_cell(cell)}</td>"


def _align(kind: type) -> str:
    return ' class="number"' if kind is Number else ""


def _cell(cell: Cell) -> str:
    match cell:
        case Name(text):
            # Names have no spaces to break a line at.
            return f"<bdi>{_text(text, _LONGEST_NAME).replace('_', '_<wbr>')}</bdi>"
        case Number(None):
            return "not known"
        case Number(value, text):
            return _text(text or f"{value:,.0f}")
        case Share(value, text):
            width = round(min(1.0, max(0.0, value)) * 100, 1)
            bar = f'<i style="--of:{width:g}%"></i>' if width else "<i></i>"
            return bar + _text(text)
        case Span(first, last, text):
            # A moment is shown, too.
            end = max(last, first + 0.008)
            return f'<i class="span" style="--from:{100 * first:.1f}%;--of:{100 * end:.1f}%"></i>{_text(text)}'
        case _:
            return _text(cell)


def _text(text: str, longest: int = _LONGEST) -> str:
    """A text in HTML: one line of printable characters, none of which means anything to a browser."""
    line = printable(" ".join(text.split()))
    return escape(line if len(line) <= longest else line[: longest - 1] + "…")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"
