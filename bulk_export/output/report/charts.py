"""Charts as SVG. The drawing stretches to the width that there is; its labels are text beside it, so they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from bulk_export.output.report.model import Band, Chart, Series

# The units of a drawing, which have no size of their own.
_WIDTH, _HEIGHT = 1000, 100
_BAND_CLASSES = {"hold": "hold", "away": "away", "break": "gap"}


def chart_svg(chart: Chart, number: int) -> str:
    """The drawing of a chart, with its title and description for those who do not see it.

    Args:
        chart: The chart.
        number: Tells it from the others of the page.
    """
    labels = f"chart-{number}-title chart-{number}-text"
    return (
        f'<svg role="img" aria-labelledby="{labels}" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">'
        f'<title id="chart-{number}-title">{escape(chart.title)}</title>'
        f'<desc id="chart-{number}-text">{escape(chart.description)}</desc>'
        f"{''.join(_shapes(chart))}</svg>"
    )


def round_top(value: float) -> float:
    """The least round number that is not below a value: the upper edge of a chart.

    >>> [round_top(value) for value in (0, 3, 11, 42, 0.7)]
    [1.0, 4.0, 20.0, 50.0, 0.8]
    """
    if not 0 < value < math.inf:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 2, 4, 5, 8, 10)
    return next(round(step * power, 12) for step in steps if step * power >= value * (1 - 1e-9))


def _shapes(chart: Chart) -> Iterator[str]:
    yield from map(_band, chart.bands)
    for share in (0.0, 0.5, 1.0):
        yield f'<path class="grid" d="M0 {share * _HEIGHT:g}H{_WIDTH}"/>'
    floor: dict[tuple[float, float], float] = {}
    for series in chart.series:
        if series.is_line:
            yield from _line(series, chart.top)
        else:
            yield _bars(series, chart.top, floor)
    if chart.marks:
        drawn = "".join(f"M{_x(mark):g} 0V12" for mark in chart.marks)
        yield f'<path class="mark" d="{drawn}"/>'


def _band(band: Band) -> str:
    first, last = _x(band.first), _x(band.last)
    return (
        f'<rect class="{_BAND_CLASSES[band.kind]}" x="{first:g}" width="{max(last - first, 2):g}" height="{_HEIGHT}"/>'
    )


def _bars(series: Series, top: float, floor: dict[tuple[float, float], float]) -> str:
    """The bars of a series, on those of the series before it, whose heights are in `floor`."""
    drawn = []
    for first, last, value in series.points:
        if value <= 0:
            continue
        base = floor.get((first, last), 0.0)
        floor[first, last] = base + value
        low, high = _y(base, top), _y(base + value, top)
        width = max(_x(last) - _x(first), 1.5)
        drawn.append(f"M{_x(first):g} {low:g}h{width:g}V{high:g}h{-width:g}z")
    return f'<path class="tone-{series.tone}" d="{"".join(drawn)}"/>'


def _line(series: Series, top: float) -> Iterator[str]:
    """The steps of a series, and what is below them. A gap between two points interrupts both."""
    for run in _runs(series.points):
        steps = "".join(f"L{_x(first):g} {_y(value, top):g}H{_x(last):g}" for first, last, value in run)
        yield f'<path class="area-{series.tone}" d="M{_x(run[0][0]):g} {_HEIGHT}{steps}V{_HEIGHT}z"/>'
        yield f'<path class="line-{series.tone}" d="M{steps[1:]}"/>'


def _runs(points: Sequence[tuple[float, float, float]]) -> list[list[tuple[float, float, float]]]:
    runs: list[list[tuple[float, float, float]]] = []
    for point in points:
        if runs and abs(runs[-1][-1][1] - point[0]) < 1e-9:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _x(position: float) -> float:
    return round(min(1.0, max(0.0, position)) * _WIDTH, 1)


def _y(value: float, top: float) -> float:
    return round(_HEIGHT - min(1.0, max(0.0, value / top)) * _HEIGHT, 1)
