"""The request timeline: what it counts, how it stays small, and that it survives an interruption."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.output.run_log import MOST_BUCKETS, MOST_HOLDS, Hold, Timeline
from bulk_export.pipelines.timeline_recorder import TimelineRecorder
from bulk_export.progress.observer import WindowUse

ORIGIN = 1_700_000_000


class Scene:
    """A recorder with a clock and limits that the test sets."""

    def __init__(self, before: Timeline | None = None, now: float = ORIGIN) -> None:
        self.now = now
        self.used = (0, 0)
        self.recorder = TimelineRecorder(before, lambda: self.now, self.windows)

    def windows(self) -> Sequence[WindowUse]:
        common, own = self.used
        return [WindowUse(None, 1_000, 300.0, common, 0.0), WindowUse("192.0.2.1", 300, 300.0, own, 0.0)]


def test_seconds_are_counted() -> None:
    """Each second has its counts, and the most that was used of each limit in it."""
    it = Scene()
    it.recorder.count_request()
    it.used = (3, 2)
    it.now += 1.5
    it.recorder.count_request()
    it.recorder.count_page("a", 300)
    it.recorder.count_page("a", 0)
    it.recorder.count_retry()
    timeline = it.recorder.timeline()
    first, second = timeline.buckets
    assert (first.at, first.requests, first.pages, first.used) == (0, 1, 0, (0, 0))
    assert (second.at, second.requests, second.pages, second.records, second.retries) == (1, 1, 1, 300, 1)
    assert second.used == (3, 2)
    assert timeline.limits == ((1_000, 300.0), (300, 300.0))
    assert timeline.endpoints == {"a": (1, 1)}
    assert "192.0.2.1" not in timeline.text()


def test_earlier_runs_are_kept() -> None:
    """A resumed export goes on with the timeline of the run before, without the time between the two."""
    it = Scene()
    it.recorder.count_request()
    before = Timeline.parse(it.recorder.timeline().text())
    later = Scene(before, now=ORIGIN + 86_400)
    later.recorder.count_request()
    timeline = later.recorder.timeline()
    assert timeline.starts == (0, 86_400)
    assert timeline.width == 1
    assert [row.at for row in timeline.buckets] == [0, 86_400]


def test_holds_that_touch_are_one() -> None:
    """A second 429 during a hold makes it longer; each of them is counted."""
    it = Scene()
    it.recorder.add_hold(30.2, is_throttled=True)
    it.now += 29
    it.recorder.add_hold(60, is_throttled=True)
    it.now += 100
    it.recorder.add_hold(5, is_throttled=False)
    timeline = it.recorder.timeline()
    assert timeline.holds == (Hold(0, 89, "throttled"), Hold(129, 5, "away"))
    assert timeline.total("throttled") == 2


def test_clock_set_back_stands_still() -> None:
    it = Scene(now=ORIGIN + 10)
    it.recorder.count_request()
    it.now = ORIGIN - 5_000
    it.recorder.count_request()
    assert [(row.at, row.requests) for row in it.recorder.timeline().buckets] == [(0, 2)]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 5_000), st.booleans()), max_size=600))
def test_it_stays_small_and_loses_no_count(steps: list[tuple[float, bool]]) -> None:
    """However long an export takes, the timeline is some kilobytes, in order, and its sums are those of the export."""
    it = Scene()
    for passed, is_held in steps:
        it.now += passed
        it.recorder.count_request()
        if is_held:
            it.recorder.add_hold(passed / 3, is_throttled=True)
    timeline = it.recorder.timeline()
    assert len(timeline.buckets) <= MOST_BUCKETS
    assert len(timeline.holds) <= MOST_HOLDS
    assert len(timeline.text()) < 20_000
    assert timeline.total("requests") == len(steps)
    assert timeline.total("throttled") == sum(is_held for _, is_held in steps)
    starts = [row.at for row in timeline.buckets]
    assert starts == sorted(set(starts))
    assert all(at % timeline.width == 0 for at in starts)
    assert all(before.at <= after.at for before, after in zip(timeline.holds, timeline.holds[1:], strict=False))


def test_it_is_stored_now_and_then() -> None:
    """It is due again after two seconds, or after a bucket if that is longer."""
    it = Scene()
    it.recorder.timeline()
    it.now += 1
    it.recorder.count_request()
    assert not it.recorder.is_due
    it.now += 1
    it.recorder.count_request()
    assert it.recorder.is_due
