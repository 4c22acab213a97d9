"""One page: what becomes of its response, and of its permit."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from bulk_export.errors import ServiceRefused
from bulk_export.extract.page_fetcher import PageFetcher, Throttled
from bulk_export.extract.rate_limit import Permit, RequestOutcome
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.extract.sweep import Sweep
from bulk_export.progress.observer import Observer
from tests.support.fetching import Client, Limiter, Receiver, page_of, response
from tests.support.paged_list import sweep_over

PERMIT = Permit(None, 0)


class Scene:
    """A fetcher whose client answers everything in the same way, and a sweep whose first page is in flight."""

    def __init__(self, answer: Response | RequestFailed | None) -> None:
        self.client, self.limiter, self.receiver = Client(lambda _: answer), Limiter(), Receiver()
        self.sweep: Sweep = sweep_over(2)
        self.fetcher = PageFetcher(
            cast("Any", self.client), cast("Any", self.limiter), self.receiver, Observer(), successor="other"
        )
        self.next_page()

    def next_page(self) -> int:
        page = self.sweep.plan.next_page()
        assert page is not None
        return page

    async def request(self, page: int = 1) -> Response | RequestFailed | Throttled | None:
        return await self.fetcher.request(PERMIT, self.sweep, page, attempt=1)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (response(page_of(2)), RequestOutcome.ANSWERED),
        (response(status=500), RequestOutcome.ANSWERED),
        (response(status=504), RequestOutcome.GIVEN_UP),
        (response(status=524), RequestOutcome.GIVEN_UP),
        (RequestFailed("the answer was cut short"), RequestOutcome.GIVEN_UP),
        (RequestFailed("no connection", sent=False), RequestOutcome.UNSENT),
    ],
)
async def test_what_becomes_of_a_permit(answer: Response | RequestFailed, outcome: RequestOutcome) -> None:
    """A gateway that gave up, or a request without a response, may yet be counted by the service."""
    scene = Scene(answer)
    assert await scene.request() == answer
    assert scene.limiter.outcomes == [outcome]
    assert not scene.sweep.plan.has_work()


async def test_a_lapsed_permit_releases_the_page() -> None:
    scene = Scene(None)
    assert await scene.request() is None
    assert scene.limiter.outcomes == [RequestOutcome.UNSENT]
    assert scene.next_page() == 1


async def test_a_429_is_reported_and_releases_the_page() -> None:
    scene = Scene(response(status=429, retry_after="30"))
    assert await scene.request() == Throttled(pause=7.0, retry_after=30.0)
    assert scene.limiter.outcomes == [None]
    assert scene.next_page() == 1


async def test_a_page_is_received_before_it_counts() -> None:
    scene = Scene(None)
    seen: list[int | None] = []

    class Watching(Receiver):
        async def receive(self, pages: Any) -> None:
            seen.append(scene.sweep.plan.count(1))
            await super().receive(pages)

    receiver = Watching()
    fetcher = PageFetcher(cast("Any", scene.client), cast("Any", scene.limiter), receiver, Observer())
    assert await fetcher.accept(response(page_of(2)), scene.sweep, 1) is None
    assert (seen, receiver.pages, scene.sweep.plan.count(1)) == ([None], {1: 2}, 2)


async def test_another_page_arrives_while_one_is_replaced() -> None:
    """What replaces a stored page is what counts, also if another page with the same is recorded meanwhile.

    Page 2 was short, and its second response is that of page 1, which arrives while page 2 is being stored.
    """
    scene = Scene(None)
    size = scene.sweep.page_size
    is_stored, may_go_on = anyio.Event(), anyio.Event()

    class Slow(Receiver):
        async def receive(self, pages: Any) -> None:
            await super().receive(pages)
            if self.pages.get(2) == size and not is_stored.is_set():
                is_stored.set()
                await may_go_on.wait()

    receiver = Slow()
    fetcher = PageFetcher(cast("Any", scene.client), cast("Any", scene.limiter), receiver, Observer())
    assert await fetcher.accept(response(page_of(1, first=5_000)), scene.sweep, 2) is None
    assert await fetcher.accept(response(page_of(size, first=9_000)), scene.sweep, 3) is None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetcher.accept, response(page_of(size)), scene.sweep, 2)
        await is_stored.wait()
        tasks.start_soon(fetcher.accept, response(page_of(size)), scene.sweep, 1)
        await anyio.wait_all_tasks_blocked()
        may_go_on.set()
    assert receiver.pages == {page: scene.sweep.stored(page) for page in (1, 2, 3)}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(status=500), "status 500"),
        (response(status=408), "status 408"),
        (response(b'{"data":[{'), "the body is not a page of records"),
        (response(b"<html>"), "the body is not a page of records"),
    ],
)
async def test_trouble_that_may_pass_is_a_failed_request(answer: Response, reason: str) -> None:
    scene = Scene(answer)
    failure = await scene.fetcher.accept(answer, scene.sweep, 1)
    assert failure is not None
    assert reason in failure.reason
    assert (failure.final, scene.receiver.pages) == (False, {})


@pytest.mark.parametrize("status", [301, 401, 403, 404])
async def test_a_rejected_first_page_ends_the_run(status: int) -> None:
    scene = Scene(None)
    with pytest.raises(ServiceRefused, match=f"page 1 of .* with status {status}") as error:
        await scene.fetcher.accept(response(status=status), scene.sweep, 1)
    assert ("--service other" in " ".join(error.value.lines())) == (status == 404)


async def test_a_404_behind_the_last_page_is_an_empty_page() -> None:
    scene = Scene(None)
    await scene.fetcher.accept(response(page_of(2)), scene.sweep, 1)
    page = scene.next_page()
    assert await scene.fetcher.accept(response(status=404), scene.sweep, page) is None
    assert scene.sweep.plan.count(page) == 0


async def test_a_404_for_a_known_page_is_a_failed_request() -> None:
    scene = Scene(None)
    for page, first in ((1, 0), (3, 4)):
        await scene.fetcher.accept(response(page_of(2, first)), scene.sweep, page)
    failure = await scene.fetcher.accept(response(status=404), scene.sweep, 2)
    assert failure is not None
    assert failure.reason == "status 404, although there is such a page"


async def test_an_echo_is_requested_again_on_a_new_connection() -> None:
    """A body that the connection brought before for another page is not stored."""
    scene = Scene(response(page_of(2)))
    await scene.fetcher.accept(response(page_of(2), is_echo=True), scene.sweep, 1)
    assert scene.receiver.pages == {}
    assert scene.next_page() == 1
    await scene.request()
    assert scene.client.on_new_connection == [True]


async def test_a_body_of_far_too_many_objects_is_no_page() -> None:
    """It is refused before each of its objects takes memory."""
    scene = Scene(None)
    failure = await scene.fetcher.accept(response(b'{"data":[' + b"{}," * 1_500_000 + b"{}]}"), scene.sweep, 1)
    assert failure is not None
    assert "far more objects" in failure.reason
