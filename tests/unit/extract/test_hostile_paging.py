"""Services that cut pages, answer wrongly once, or say in odd ways that a list ends: nothing is lost silently."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Paging
from bulk_export.errors import ServiceFailing
from bulk_export.extract.paging_facts import PagingFacts, is_round
from bulk_export.extract.sweep import Sweep
from bulk_export.services.catalogue import load_service

NOTHING = PagingFacts()
ENDPOINT = replace(load_service("npq").endpoints[0], sort=None)
STATUSES = (204, 400, 404, 416, 422)
RELAXED = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.large_base_example])
Style = Literal["pages", "offset"]
Answer = list[bytes] | int
# What a server does to an answer, given how many it has given before, the page and the answer as it should be.
Fault = Callable[[int, int, Answer], Answer]


class Server:
    """Serves `records` with at most `cap(n)` in the n-th answer, and says by `end` that there is no such page."""

    def __init__(
        self,
        records: int,
        *,
        cap: Callable[[int], int] = lambda _: 10_000,
        end: int | Literal["empty", "last", "first"] = "empty",
        style: Style = "pages",
        fault: Fault = lambda _n, _page, answer: answer,
    ) -> None:
        self._records = [b"{%d}" % number for number in range(records)]
        self._cap, self._end, self._style, self._fault = cap, end, style, fault
        self.answers = 0

    def get(self, sweep: Sweep, page: int) -> Answer:
        query = dict(parse_qsl(sweep.target(page).partition("?")[2]))
        size, number = min(int(query["size"]), self._cap(self.answers)), int(query["number"])
        first = number if self._style == "offset" else (number - 1) * size
        answer: Answer = self._records[first : first + size]
        if not answer and page > 1:
            last = max(0, (len(self._records) - 1) // size * size)
            shown = {"empty": [], "last": self._records[last:], "first": self._records[:size]}
            answer = self._end if isinstance(self._end, int) else shown[self._end]
        answer = self._fault(self.answers, page, answer)
        self.answers += 1
        return answer


def sweep_of(
    page_size: int, workers: int, style: Style = "pages", known: PagingFacts = NOTHING, largest: int | None = None
) -> Sweep:
    paging = Paging(style, "number", "size", 0 if style == "offset" else 1, largest=largest)
    return Sweep(
        replace(ENDPOINT, paging=paging),
        number=0,
        page_size=page_size,
        stride=2 * workers,
        filters=(),
        known=known,
    )


def read(sweep: Sweep, server: Server, workers: int = 1, pick: st.DataObject | None = None) -> list[bytes]:
    """What a sweep finds, page after page, with answers in any order."""
    pages: dict[int, Sequence[bytes]] = {}
    in_flight: list[int] = []
    for _ in range(2_000):
        while len(in_flight) < (workers if pages else 1) and (page := sweep.plan.next_page()) is not None:
            in_flight.append(page)
        if not in_flight:
            break
        page = in_flight.pop(0 if pick is None else pick.draw(st.integers(0, len(in_flight) - 1)))
        settled = sweep.plan.contiguous
        answer = server.get(sweep, page)
        if isinstance(answer, list):
            if sweep.should_store(page, answer):
                # What was converted already must not change.
                assert page > settled
                pages[page] = answer
            sweep.record_response(page, answer)
        elif sweep.says_no_such_page(page, answer):
            sweep.record_no_such_page(page)
        else:
            assert sweep.is_known_page(page, answer)
            sweep.plan.release(page)
    assert sweep.plan.complete
    end = sweep.plan.end or 0
    assert sweep.plan.contiguous >= end
    return [record for page in range(1, end + 1) for record in pages[page]]


def everything(records: int) -> list[bytes]:
    return [b"{%d}" % number for number in range(records)]


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
def test_one_answer_with_fewer_records_loses_nothing_in_front_of_the_last_page(
    records: int, size: int, wrong: int, left: int, style: Style, workers: int, pick: st.DataObject
) -> None:
    last = math.ceil(records / size)

    def fewer(count: int, page: int, answer: Answer) -> Answer:
        spared = page == last and left > 0
        return answer[:left] if count == wrong and isinstance(answer, list) and not spared else answer

    sweep = sweep_of(size, workers, style)
    found = read(sweep, Server(records, style=style, fault=fewer), workers, pick)
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
def test_one_answer_that_is_that_to_another_page_loses_nothing_silently(
    records: int, size: int, wrong: int, other: int, workers: int, pick: st.DataObject
) -> None:
    def strayed(count: int, _page: int, answer: Answer) -> Answer:
        return everything(records)[(other - 1) * size : other * size] if count == wrong else answer

    sweep = sweep_of(size, workers)
    try:
        found = read(sweep, Server(records, fault=strayed), workers, pick)
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
def test_a_cap_that_falls_or_rises_between_two_answers_loses_nothing_silently(
    records: int, size: int, caps: list[tuple[int, int]], style: Style, workers: int, pick: st.DataObject
) -> None:
    limits = [cap for count, cap in caps for _ in range(count)]

    def cap(count: int) -> int:
        return limits[min(count, len(limits) - 1)]

    sweep = sweep_of(size, workers, style)
    found = read(sweep, Server(records, cap=cap, style=style), workers, pick)
    assert set(found) == set(everything(records)) or signs(sweep)


@pytest.mark.parametrize(("records", "size", "falls_to"), [(7_000, 3_000, 1_000), (3_050, 3_000, 1_000)])
def test_a_cap_that_falls_after_the_first_page_is_read_on_behind_and_stated(
    records: int, size: int, falls_to: int
) -> None:
    sweep = sweep_of(size, 1, known=PagingFacts(longest=3_000))
    found = read(sweep, Server(records, cap=lambda count: 3_000 if count < 1 else falls_to))
    assert set(found) == set(everything(records))
    assert (sweep.plan.clamp, sweep.plan.is_mixed) == (falls_to, True)


def test_a_cap_that_rises_after_the_first_page_is_noticed_by_asking_for_that_page_again() -> None:
    sweep = sweep_of(3_000, 1)
    found = read(sweep, Server(7_000, cap=lambda count: 1_000 if count < 1 else 3_000))
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
def test_a_status_or_a_page_shown_again_is_the_end_behind_the_last_page(
    records: int, size: int, end: int | Literal["last", "first"], largest: int | None, workers: int, pick: st.DataObject
) -> None:
    assume(isinstance(end, int) or records > size)  # of one page that is shown again nobody can say
    sweep = sweep_of(size, workers, largest=largest)
    server = Server(records, end=end)
    assert read(sweep, server, workers, pick) == everything(records)
    assert sweep.plan.end == math.ceil(records / size)
    assert not signs(sweep)
    if isinstance(end, int):
        assert server.answers <= sweep.plan.end + 5 + math.log2(sweep.plan.end)


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
def test_a_service_that_answers_404_to_everything_for_a_while_has_no_end(
    records: int, size: int, status: int, begins: int, lasts: int, workers: int, pick: st.DataObject
) -> None:
    sweep = sweep_of(size, workers)

    def out_of_order(count: int, _page: int, answer: Answer) -> Answer:
        return status if begins <= count < begins + lasts else answer

    assert read(sweep, Server(records, end=status, fault=out_of_order), workers, pick) == everything(records)


def test_a_refusal_to_page_any_deeper_is_a_suspicious_end() -> None:
    def shallow(_count: int, page: int, answer: Answer) -> Answer:
        return 422 if page > 10 else answer

    sweep = sweep_of(100, 4)
    assert len(read(sweep, Server(5_000, fault=shallow), 4)) == 1_000
    assert sweep.has_suspicious_end
    assert "may go on behind page 10" in sweep.warnings()[-1]


def test_an_empty_list_where_there_was_a_long_one_is_asked_for_again_and_stated() -> None:
    sweep = sweep_of(100, 1, known=PagingFacts(longest=100, records=950))
    server = Server(0)
    assert read(sweep, server) == []
    assert (server.answers, sweep.has_suspicious_end) == (2, True)


@pytest.mark.parametrize("known", [PagingFacts(), PagingFacts(longest=100, records=950)])
def test_an_answer_that_shows_the_page_before_is_asked_for_again(known: PagingFacts) -> None:
    answers: list[Answer] = []

    def late(_count: int, _page: int, answer: Answer) -> Answer:
        answers.append(answer)
        return answers[-2] if len(answers) in (2, 5, 9) else answer

    sweep = sweep_of(100, 1, known=known)
    assert read(sweep, Server(950, fault=late)) == everything(950)
    assert sweep.is_to_be_read_again


def test_a_full_first_page_that_is_shown_for_every_number_is_a_failure() -> None:
    sweep = sweep_of(3, 1, largest=3_000)
    with pytest.raises(ServiceFailing, match="again and again"):
        read(sweep, Server(100, fault=lambda _count, _page, _answer: everything(3)))


def test_pages_longer_than_asked_for_are_taken_and_stated() -> None:
    everything_at_once = Server(20, fault=lambda _count, page, _answer: everything(20) if page == 1 else [])
    sweep = sweep_of(5, 1)
    assert read(sweep, everything_at_once) == everything(20)
    assert "gave up to 20 records at once where 5 were asked for" in sweep.warnings()[0]


@pytest.mark.parametrize(("first", "then"), [(950, 950), (950, 1_130), (1_000, 1_000), (40, 40)])
def test_what_was_found_out_saves_requests_the_next_time(first: int, then: int) -> None:
    before = sweep_of(300, 1)
    server = Server(first, cap=lambda _: 100)
    read(before, server)
    assert before.plan.clamp == (100 if first > 100 else None)
    learned = PagingFacts.from_text(before.learned().to_text())
    assert learned == before.learned()
    again = Server(then, cap=lambda _: 100)
    assert read(sweep_of(300, 1, known=learned), again) == everything(then)
    size = 100 if first > 100 else 300
    # The least there is, a search for the end, and no more.
    assert again.answers <= then // size + 1 + 1 + math.log2(math.ceil(then / size))


def test_what_was_known_is_withdrawn_where_the_service_shows_otherwise() -> None:
    known = PagingFacts(longest=3_000, checked=((3_000, 1_000),), records=900)
    sweep = sweep_of(3_000, 1, known=known)
    read(sweep, Server(4_500, cap=lambda _: 700))
    assert sweep.learned() == PagingFacts(longest=700, clamp=700, checked=((3_000, 300),), records=4_500)
    raised = sweep_of(3_000, 1, known=sweep.learned())
    assert read(raised, Server(4_500)) == everything(4_500)
    assert raised.learned().clamp is None


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"longest":-1}', '{"checked":[[1]]}', '{"records":1e99}', "9"]
)
def test_damaged_knowledge_is_none(text: str) -> None:
    assert PagingFacts.from_text(text) == PagingFacts()


def test_round_lengths_are_those_of_usual_caps() -> None:
    assert [length for length in range(1, 300) if is_round(length, 300)] == [
        *(10, 16, 20, 25, 30, 32, 40, 50, 64, 100, 128, 150, 200, 250, 256),
    ]
    assert is_round(1_000, 3_000)
    assert not is_round(300, 300)
