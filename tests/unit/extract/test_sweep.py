"""Sweeps over services that cut pages, answer wrongly once, or end in odd ways: nothing is lost silently."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bulk_export.errors import ServiceFailing
from bulk_export.extract.paging_facts import PagingFacts, parse_sweep_state
from bulk_export.extract.sweep import Sweep
from tests.support.paged_list import Answer, PagedList, Style, everything, read, read_pages, sweep_over

STATUSES = (204, 400, 404, 416, 422)
RELAXED = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.large_base_example])


def signs(sweep: Sweep) -> bool:
    return bool(sweep.plan.short_pages()) or sweep.is_to_be_read_again or sweep.has_suspicious_end


@RELAXED
@given(
    records=st.integers(0, 150),
    size=st.integers(2, 12),
    wrong=st.integers(0, 30),
    left=st.integers(0, 11),
    style=st.sampled_from(["pages", "offset"]),
    workers=st.integers(1, 8),
    pick=st.data(),
)
def test_one_short_response_loses_nothing(
    records: int, size: int, wrong: int, left: int, style: Style, workers: int, pick: st.DataObject
) -> None:
    """One response with fewer records, whichever it is, loses nothing in front of the last page."""
    last = math.ceil(records / size)

    def fewer(count: int, page: int, answer: Answer) -> Answer:
        spared = page == last and left > 0
        return answer[:left] if count == wrong and isinstance(answer, list) and not spared else answer

    sweep = sweep_over(size, workers, style)
    found = read(sweep, PagedList(records, style=style, fault=fewer), workers, pick)
    assert set(found) == set(everything(records))
    assert found == everything(records) or style == "offset"


@RELAXED
@given(
    records=st.integers(1, 150),
    size=st.integers(2, 12),
    wrong=st.integers(0, 30),
    other=st.integers(1, 20),
    workers=st.integers(1, 8),
    pick=st.data(),
)
def test_one_strayed_response_loses_nothing_silently(
    records: int, size: int, wrong: int, other: int, workers: int, pick: st.DataObject
) -> None:
    """One response that is that to another page: everything is found, or the list is read again, or the run fails."""

    def strayed(count: int, _page: int, answer: Answer) -> Answer:
        return everything(records)[(other - 1) * size : other * size] if count == wrong else answer

    sweep = sweep_over(size, workers)
    try:
        found = read(sweep, PagedList(records, fault=strayed), workers, pick)
    except ServiceFailing:
        return
    assert set(found) == set(everything(records)) or signs(sweep)


@RELAXED
@given(
    records=st.integers(0, 150),
    size=st.integers(4, 12),
    # Where it rises right behind a first page that is the last one by that, no request shows it.
    caps=st.lists(st.tuples(st.integers(2, 30), st.integers(2, 12)), min_size=1, max_size=2),
    style=st.sampled_from(["pages", "offset"]),
    workers=st.integers(1, 8),
    pick=st.data(),
)
def test_a_changing_cap_loses_nothing_silently(
    records: int, size: int, caps: list[tuple[int, int]], style: Style, workers: int, pick: st.DataObject
) -> None:
    """A cap on page lengths that falls or rises between two responses loses nothing silently."""
    limits = [cap for count, cap in caps for _ in range(count)]

    def cap(count: int) -> int:
        return limits[min(count, len(limits) - 1)]

    sweep = sweep_over(size, workers, style)
    found = read(sweep, PagedList(records, cap=cap, style=style), workers, pick)
    assert set(found) == set(everything(records)) or signs(sweep)


@pytest.mark.parametrize(("records", "size", "falls_to"), [(7_000, 3_000, 1_000), (3_050, 3_000, 1_000)])
def test_a_falling_cap_is_stated(records: int, size: int, falls_to: int) -> None:
    """A cap that falls after the first page: the list is read on behind it, and the change is stated."""
    sweep = sweep_over(size, 1, known=PagingFacts(longest=3_000))
    found = read(sweep, PagedList(records, cap=lambda count: 3_000 if count < 1 else falls_to))
    assert set(found) == set(everything(records))
    assert (sweep.plan.clamp, sweep.plan.is_mixed) == (falls_to, True)


def test_a_rising_cap_is_noticed() -> None:
    """A cap that rises after the first page is noticed by requesting that page again."""
    sweep = sweep_over(3_000, 1)
    found = read(sweep, PagedList(7_000, cap=lambda count: 1_000 if count < 1 else 3_000))
    assert found == everything(7_000)
    assert (sweep.plan.clamp, signs(sweep)) == (None, False)


@RELAXED
@given(
    records=st.integers(1, 150),
    size=st.integers(2, 12),
    end=st.sampled_from([*STATUSES, "last", "first"]),
    largest=st.sampled_from([None, 3_000]),
    workers=st.integers(1, 8),
    pick=st.data(),
)
def test_status_or_repeated_page_is_the_end(
    records: int, size: int, end: int | Literal["last", "first"], largest: int | None, workers: int, pick: st.DataObject
) -> None:
    """Behind the last page, a status such as 404 or a page that is shown again is the end, and costs few requests."""
    assume(isinstance(end, int) or records > size)  # of one page that is shown again nobody can say
    assume(records != 10 or size <= 10)  # a single page of ten may be one that the service cut
    sweep = sweep_over(size, workers, largest=largest)
    served = PagedList(records, end=end)
    assert read(sweep, served, workers, pick) == everything(records)
    assert sweep.plan.end == math.ceil(records / size)
    assert not signs(sweep)
    if isinstance(end, int):
        assert served.answers <= sweep.plan.end + 5 + math.log2(sweep.plan.end)


@RELAXED
@given(
    records=st.integers(13, 150),
    size=st.integers(2, 12),
    status=st.sampled_from(STATUSES),
    begins=st.integers(2, 30),
    lasts=st.integers(1, 8),
    workers=st.integers(1, 4),
    pick=st.data(),
)
def test_404_to_everything_for_a_while_is_no_end(
    records: int, size: int, status: int, begins: int, lasts: int, workers: int, pick: st.DataObject
) -> None:
    """A service that answers 404 to everything for a while does not end the list by that."""
    sweep = sweep_over(size, workers)

    def out_of_order(count: int, _page: int, answer: Answer) -> Answer:
        return status if begins <= count < begins + lasts else answer

    assert read(sweep, PagedList(records, end=status, fault=out_of_order), workers, pick) == everything(records)


def test_a_refused_depth_is_a_suspicious_end() -> None:
    """A service that refuses to page any deeper than 1,000 records: the end is stated to be suspicious."""

    def shallow(_count: int, page: int, answer: Answer) -> Answer:
        return 422 if page > 10 else answer

    sweep = sweep_over(100, 4)
    assert len(read(sweep, PagedList(5_000, fault=shallow), 4)) == 1_000
    assert sweep.has_suspicious_end
    assert "may go on behind page 10" in sweep.warnings()[-1]


def test_an_unexpectedly_empty_list_is_stated() -> None:
    """An empty list where there was a long one is requested again, and stated."""
    sweep = sweep_over(100, 1, known=PagingFacts(longest=100, records=950))
    served = PagedList(0)
    assert read(sweep, served) == []
    assert (served.answers, sweep.has_suspicious_end) == (2, True)


@pytest.mark.parametrize("known", [PagingFacts(), PagingFacts(longest=100, records=950)])
def test_a_late_response_is_requested_again(known: PagingFacts) -> None:
    """A response that shows the page before is requested again, and the list is read again."""
    answers: list[Answer] = []

    def late(_count: int, _page: int, answer: Answer) -> Answer:
        answers.append(answer)
        return answers[-2] if len(answers) in (2, 5, 9) else answer

    sweep = sweep_over(100, 1, known=known)
    assert read(sweep, PagedList(950, fault=late)) == everything(950)
    assert sweep.is_to_be_read_again


def test_an_ignored_page_number_is_a_failure() -> None:
    """A full first page that is shown for every number is a failure."""
    sweep = sweep_over(3, 1, largest=3_000)
    with pytest.raises(ServiceFailing, match="again and again"):
        read(sweep, PagedList(100, fault=lambda _count, _page, _answer: everything(3)))


def test_pages_longer_than_asked_for_are_stated() -> None:
    """Pages longer than asked for are stored, and stated."""
    everything_at_once = PagedList(20, fault=lambda _count, page, _answer: everything(20) if page == 1 else [])
    sweep = sweep_over(5, 1)
    assert read(sweep, everything_at_once) == everything(20)
    assert "gave up to 20 records at once where 5 were asked for" in sweep.warnings()[0]


@pytest.mark.parametrize(("first", "then"), [(950, 950), (950, 1_130), (1_000, 1_000), (40, 40)])
def test_facts_save_requests_the_next_time(first: int, then: int) -> None:
    """What one sweep found out about paging saves requests in the next one."""
    before = sweep_over(300, 1)
    served = PagedList(first, cap=lambda _: 100)
    read(before, served)
    assert before.plan.clamp == (100 if first > 100 else None)
    learned = PagingFacts.from_text(before.learned().to_text())
    assert learned == before.learned()
    again = PagedList(then, cap=lambda _: 100)
    assert read(sweep_over(300, 1, known=learned), again) == everything(then)
    size = 100 if first > 100 else 300
    # The least there is, a search for the end, and no more.
    assert again.answers <= then // size + 1 + 1 + math.log2(math.ceil(then / size))


def test_contradicted_facts_are_withdrawn() -> None:
    """What was known is withdrawn where the service shows otherwise."""
    known = PagingFacts(longest=3_000, checked=((3_000, 1_000),), records=900)
    sweep = sweep_over(3_000, 1, known=known)
    read(sweep, PagedList(4_500, cap=lambda _: 700))
    assert sweep.learned() == PagingFacts(longest=700, clamp=700, checked=((3_000, 300),), records=4_500)
    raised = sweep_over(3_000, 1, known=sweep.learned())
    assert read(raised, PagedList(4_500)) == everything(4_500)
    assert raised.learned().clamp is None


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.large_base_example])
@given(
    records=st.integers(0, 120),
    page_size=st.integers(2, 12),
    largest=st.integers(2, 12),
    style=st.sampled_from(["pages", "offset"]),
    repeats=st.booleans(),
    workers=st.integers(1, 12),
    pick=st.data(),
)
def test_an_undescribed_clamp_loses_no_record(
    records: int,
    page_size: int,
    largest: int,
    style: Style,
    repeats: bool,
    workers: int,
    pick: st.DataObject,
) -> None:
    """A clamp that nobody described loses no record, fetches none twice, and costs few requests; a later run agrees."""
    at_once = min(page_size, largest)
    if repeats and records < at_once:
        repeats = False  # a page as full as asked for says nothing by repeating
    end: Literal["last", "empty"] = "last" if repeats and records > at_once else "empty"
    served = PagedList(records, cap=lambda _: largest, end=end, style=style)
    sweep = sweep_over(page_size, workers, style)
    pages = read_pages(sweep, served, workers, pick)
    assert sweep.plan.end == math.ceil(records / at_once)
    assert [record for page in range(1, sweep.plan.end + 1) for record in pages[page]] == everything(records)
    assert sweep.plan.records == records
    assert sweep.plan.short_pages() == ()
    if not repeats:
        assert served.answers <= sweep.plan.end + 5 + math.log2(max(1, sweep.plan.end))
    assert sweep.plan.clamp == (at_once if at_once < page_size and records > at_once else None)
    assert not sweep.plan.is_mixed
    again = sweep_over(page_size, workers, style)
    stored = [(page, len(records_)) for page, records_ in sorted(pages.items())]
    again.restore(
        stored,
        lambda keys: (
            b'{"data":[' + b",".join(b'{"a":"%s"}' % record for record in pages[key.page]) + b"]}" for key in keys
        ),
        state=parse_sweep_state(sweep.state()),
    )
    assert (again.plan.end, again.plan.records, again.plan.complete) == (sweep.plan.end, records, True)


def test_a_full_first_page_for_ever_is_a_failure() -> None:
    """The second page is requested twice before a full first page that comes for it is a failure."""
    sweep = sweep_over(3, 1, "pages")
    page = [b"{1}", b"{2}", b"{3}"]
    for number in (1, 2):
        sweep.should_store(number, page)
        sweep.record_response(number, page)
    assert sweep.plan.end is None
    assert sweep.plan.next_page() == 2
    with pytest.raises(ServiceFailing, match="again and again"):
        sweep.should_store(2, page)


def test_a_repeated_short_first_page_is_everything() -> None:
    """A short first page that comes again is taken for all there is, and the end is stated to be suspicious."""
    sweep = sweep_over(10, 1, "pages")
    page = [b"{1}", b"{2}"]
    assert not sweep.record_response(1, page)
    assert sweep.record_response(2, page)
    assert (sweep.plan.end, sweep.plan.complete) == (1, True)
    assert sweep.has_suspicious_end
