"""A timeline as charts: where a second stands, what is left out, and that the sums are those of the timeline."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.output.report.charts import chart_svg, round_top
from bulk_export.output.report.timeline_charts import (
    TimeScale,
    endpoint_table,
    holds_text,
    limit_charts,
    request_charts,
)
from bulk_export.output.run_log import Bucket, Hold, Timeline
from tests.support.reports import TIMELINE

# A run, and another one on the next day.
TWO_RUNS = Timeline(0, starts=(0, 86_400), buckets=(Bucket(0, 5), Bucket(99, 5), Bucket(86_400, 5), Bucket(86_449, 1)))


def test_time_between_runs_is_left_out() -> None:
    """Two thirds of the chart are for the first run, of 100 s, one third for the second, and a gap is between."""
    scale = TimeScale.of(TWO_RUNS)
    assert scale.runs == ((0, 100), (86_400, 86_450))
    assert scale.at(0) == 0
    assert scale.at(100) == scale.at(50_000)
    assert round(scale.at(86_400) - scale.at(100), 4) == 0.03
    assert round(scale.at(86_450), 9) == 1
    assert [band.kind for band in scale.gaps()] == ["break"]
    assert scale.labels() == ["01 Jan 00:00", "02 Jan 00:00"]


def test_one_run_has_a_middle() -> None:
    assert TimeScale.of(TIMELINE).labels() == ["00:00:00", "00:00:03", "00:00:06"]


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 10**6), max_size=8),
    st.lists(st.integers(0, 10**6), max_size=20, unique=True).map(sorted),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**4)), max_size=5),
    st.integers(1, 64),
)
def test_positions_are_in_order(starts: list[int], rows: list[int], holds: list[tuple[int, int]], width: int) -> None:
    """Whatever a timeline holds, positions are between 0 and 1 and in the order of time, and it can be drawn."""
    timeline = Timeline(
        0,
        width,
        tuple(starts),
        ((10, 1.0),),
        tuple(Bucket(at, 1, 1, 1, 1, 1, (at,)) for at in rows),
        tuple(Hold(at, seconds, "throttled") for at, seconds in sorted(holds)),
        {"a": (0, 1)},
    )
    scale = TimeScale.of(timeline)
    positions = [scale.at(second) for second in range(0, 10**6, 50_000)]
    assert positions == sorted(positions)
    assert all(0 <= position <= 1 for position in positions)
    for number, chart in enumerate([*request_charts(timeline), *limit_charts(timeline)]):
        assert "nan" not in chart_svg(chart, number)


def test_charts_say_what_they_show() -> None:
    """The numbers beside the drawings are those of the timeline, each 429 has a mark, and a hold is a band."""
    requests, pages, records = request_charts(TIMELINE)
    assert requests.description.startswith("12 requests in 6 s, at most 2 a second; 1 failed")
    assert [series.name for series in requests.series] == ["sent", "failed and repeated"]
    assert len(requests.marks) == 1
    assert [band.kind for band in requests.bands] == ["hold"]
    assert pages.description == "12 pages with records arrived."
    assert records.series[0].points[-1][2] == 3_600
    assert requests.numbers is not None
    assert len(requests.numbers.rows) == 6
    calm = dataclasses.replace(TIMELINE, buckets=(Bucket(0, 1, 1, 1),), holds=())
    assert [series.name for series in request_charts(calm)[0].series] == ["sent"]
    assert holds_text(calm) == ""
    assert holds_text(TIMELINE) == "Nothing was sent for 1 s after a 429."


def test_limit_stays_used_until_its_window_is_over() -> None:
    """Nothing is sent for minutes, and what was used is still used; after the period it is free again."""
    rows = (Bucket(0, 9, used=(9,)), Bucket(200, 1, used=(10,)), Bucket(900, 1, used=(1,)))
    (chart,) = limit_charts(Timeline(0, starts=(0,), limits=((10, 300.0),), buckets=rows))
    points = [(round(first * 901), round(last * 901), value) for first, last, value in chart.series[0].points]
    assert points == [(0, 200, 9.0), (200, 501, 10.0), (900, 901, 1.0)]
    assert chart.title == "Use of the limit of the service: 10 requests in 5 min"
    assert "At most 10 of 10" in chart.description


def test_lists_of_a_timeline() -> None:
    table = endpoint_table(TIMELINE, 1)
    assert table is not None
    assert len(table.rows) == 1
    assert endpoint_table(Timeline(0), 9) is None


def test_upper_edge_is_round() -> None:
    assert [round_top(value) for value in (0, float("inf"), 1, 9.99, 10, 1_001)] == [1, 1, 1, 10, 10, 2_000]
