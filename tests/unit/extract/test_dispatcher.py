"""When requests are sent: how many at once, for which endpoint, and what is held when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio
import pytest

from bulk_export.core.notifier import Notifier
from bulk_export.errors import ServiceFailing
from bulk_export.extract.dispatcher import Dispatcher, DispatchSettings
from bulk_export.extract.page_fetcher import Throttled
from bulk_export.extract.rate_limit import Permit, RequestOutcome
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.extract.retry import Backoff
from bulk_export.extract.sweep import Sweep
from bulk_export.progress.observer import Observer
from tests.support.fetching import Limiter, response
from tests.support.paged_list import ENDPOINT, sweep_over
from tests.support.virtual_time import run_virtually

PAGES, SIZE, WORKERS = 20, 10, 4
Result = Response | RequestFailed | Throttled
PAGE = response()


@dataclass(frozen=True)
class Sent:
    """A request: when it was sent, for which page, and how many were in flight with it."""

    at: float
    endpoint: str
    page: int
    in_flight: int


class Fetcher:
    """Takes a second for each request. Sweeps have `PAGES` full pages; `result(n)` is what the n-th request brings."""

    def __init__(self, result: Callable[[int], Result] = lambda _: PAGE) -> None:
        self._result = result
        self._in_flight = 0
        self.sent: list[Sent] = []
        self.retries = 0

    async def request(self, _permit: Permit, sweep: Sweep, page: int, *, attempt: int) -> Result:
        assert attempt >= 1
        self._in_flight += 1
        self.sent.append(Sent(anyio.current_time(), sweep.endpoint.name, page, self._in_flight))
        result = self._result(len(self.sent))
        await anyio.sleep(1.0)
        self._in_flight -= 1
        if isinstance(result, Throttled):
            sweep.plan.release(page)
        return result

    async def accept(self, arrived: Response, sweep: Sweep, page: int) -> RequestFailed | None:
        if arrived.status != 200:
            return RequestFailed(f"status {arrived.status}")
        sweep.plan.record_response(page, SIZE if page <= PAGES else 0)
        return None

    def report_hold(self, seconds: float, *, is_throttled: bool) -> None:
        del seconds, is_throttled

    def count_retry(self) -> None:
        self.retries += 1


def dispatch(
    fetcher: Fetcher, *sweeps: Sweep, attempts: int = 3, limiter: Limiter | None = None, stop_after: float | None = None
) -> None:
    """Run a dispatcher over the sweeps on virtual time."""

    async def main() -> None:
        dispatcher = Dispatcher(
            sweeps,
            fetcher=cast("Any", fetcher),
            limiter=cast("Any", limiter or Limiter()),
            settings=DispatchSettings(
                workers=WORKERS, backoff=Backoff(attempts, base=8.0, growth=2.0), uniform=lambda: 1.0, max_wait=100.0
            ),
            changed=Notifier(),
            observer=Observer(),
        )
        dispatcher.close()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run)
            if stop_after is not None:
                await anyio.sleep(stop_after)
                dispatcher.stop_dispatching()

    try:
        run_virtually(main)
    except* ServiceFailing as group:
        raise group.exceptions[0] from None


def sweep_of(name: str = "things") -> Sweep:
    sweep = sweep_over(SIZE, WORKERS)
    sweep.endpoint = replace(ENDPOINT, name=name, paging=sweep.endpoint.paging)
    return sweep


def test_the_first_request_goes_out_alone() -> None:
    """A wrong token costs one request; after the first page all workers are used, and never more."""
    fetcher, sweep = Fetcher(), sweep_of()
    dispatch(fetcher, sweep)
    assert sweep.plan.complete
    assert [sent.page for sent in fetcher.sent[:2]] == [1, 2]
    assert fetcher.sent[1].at - fetcher.sent[0].at == pytest.approx(1.0)
    assert max(sent.in_flight for sent in fetcher.sent) == WORKERS


def test_endpoints_are_served_in_order() -> None:
    """A later one gets what an earlier one cannot use, and finishes after it."""
    fetcher, first, second = Fetcher(), sweep_of("first"), sweep_of("second")
    dispatch(fetcher, first, second)
    names = [sent.endpoint for sent in fetcher.sent]
    assert first.plan.complete
    assert second.plan.complete
    assert names.index("second") < len(names) - 1 - names[::-1].index("first")
    of_first = [sent.at for sent in fetcher.sent if sent.endpoint == "first"]
    of_second = [sent.at for sent in fetcher.sent if sent.endpoint == "second"]
    assert sum(of_first) / len(of_first) < sum(of_second) / len(of_second)
    assert of_first[-1] < of_second[-1]


def test_a_failed_page_waits_while_others_are_fetched() -> None:
    fetcher, sweep = Fetcher(lambda number: response(status=500) if number == 9 else PAGE), sweep_of()
    dispatch(fetcher, sweep)
    failed = fetcher.sent[8]
    first, second = (sent.at for sent in fetcher.sent if sent.page == failed.page)
    assert second >= first + 1.0 + 8.0
    assert sum(first < sent.at < second for sent in fetcher.sent) > WORKERS
    assert (sweep.plan.complete, fetcher.retries) == (True, 1)


def test_no_more_pages_back_off_than_there_are_workers() -> None:
    """A service in trouble sees a trickle of requests."""
    fetcher = Fetcher(lambda number: PAGE if number < 8 else response(status=500))
    with pytest.raises(ServiceFailing, match="failed 3 times, last: status 500"):
        dispatch(fetcher, sweep_of())
    began = fetcher.sent[7].at
    assert sum(began <= sent.at < began + 8.0 for sent in fetcher.sent) <= 2 * WORKERS


def test_a_page_gets_so_many_attempts() -> None:
    """A page is requested as often as the backoff allows, then the run fails and names it."""
    fetcher = Fetcher(lambda _: response(status=500))
    with pytest.raises(ServiceFailing, match="Page 1 of things failed 3 times"):
        dispatch(fetcher, sweep_of())
    assert [round(sent.at) for sent in fetcher.sent] == [0, 9, 26]


def test_a_failure_for_good_is_not_repeated() -> None:
    fetcher = Fetcher(lambda _: RequestFailed("a body of more than 9 bytes", final=True, advice="Think."))
    with pytest.raises(ServiceFailing, match="Page 1 of things failed, last: a body"):
        dispatch(fetcher, sweep_of())
    assert len(fetcher.sent) == 1


def test_without_a_connection_one_request_tries() -> None:
    """What was on its way when the connection was lost tells nothing new."""
    lost = range(8, 14)
    fetcher, sweep = Fetcher(lambda n: RequestFailed("no way", sent=False) if n in lost else PAGE), sweep_of()
    dispatch(fetcher, sweep, attempts=9)
    began = fetcher.sent[7].at
    later = [sent for sent in fetcher.sent if sent.at > began + 1.0]
    tries = [sent for sent in later if sent.in_flight == 1][:2]
    assert later[0] == tries[0]
    assert later[0].at >= began + 8.0
    assert sweep.plan.complete


@pytest.mark.parametrize(
    ("result", "pause"),
    [(response(status=503, retry_after="60"), 60.0), (Throttled(pause=0.0, retry_after=60.0), 60.0)],
)
def test_an_announced_wait_holds_everything(result: Result, pause: float) -> None:
    fetcher, sweep = Fetcher(lambda number: result if number == 6 else PAGE), sweep_of()
    dispatch(fetcher, sweep)
    held_from = fetcher.sent[5].at + 1.0
    assert not [sent for sent in fetcher.sent if held_from + 1e-6 < sent.at < held_from + pause]
    assert sweep.plan.complete


def test_a_permit_that_is_not_needed_is_returned_unsent() -> None:
    """The page was decided on after the permit came, and by then nothing was worth requesting."""
    sweep = sweep_of()

    class Late(Limiter):
        async def acquire(self) -> Permit:
            if fetcher.sent and sweep.horizon is None:
                sweep.horizon = 0
                await anyio.sleep(1.0)
            elif sweep.horizon == 0:
                sweep.horizon = 10**6
            return await super().acquire()

    fetcher, limiter = Fetcher(), Late()

    async def main() -> None:
        changed = Notifier()
        dispatcher = Dispatcher(
            [sweep],
            fetcher=cast("Any", fetcher),
            limiter=cast("Any", limiter),
            settings=DispatchSettings(workers=WORKERS, backoff=Backoff(3), uniform=lambda: 0.5),
            changed=changed,
            observer=Observer(),
        )
        dispatcher.close()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run)
            await anyio.sleep(5.0)
            assert limiter.outcomes == [RequestOutcome.UNSENT]
            sweep.horizon = 10**6
            changed.notify_all()

    run_virtually(main)
    assert sweep.plan.complete


def test_stopped_it_waits_for_what_is_in_flight() -> None:
    """After a stop no request is sent, and all responses in flight are kept."""
    fetcher, sweep = Fetcher(), sweep_of()
    dispatch(fetcher, sweep, stop_after=3.5)
    assert not sweep.plan.complete
    assert sweep.plan.pages == len(fetcher.sent)
    assert fetcher.sent[-1].at < 3.5
