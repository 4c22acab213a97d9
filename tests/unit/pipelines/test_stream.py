"""The two halves of a stream: pages into order, and records once."""

from __future__ import annotations

import json

import anyio
import pytest

from bulk_export.core.notifier import Notifier
from bulk_export.extract.page_fetcher import FetchedPage
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.stream import BlockConverter, PageOrder
from bulk_export.transform.decode import Decoder, SplitBody
from tests.support.stored_pages import PAGE_SIZE, PARTNERS, body, record


def converter() -> BlockConverter:
    return BlockConverter(PARTNERS, Decoder(PARTNERS, columns=True, lines=None))


def test_a_record_of_an_earlier_page_is_left_out() -> None:
    """Records that an earlier response showed are left out and counted, also within one block of pages."""
    blocks = converter()
    first = blocks.convert([body([record(1), record(2)]), body([record(2), record(3)])])
    second = blocks.convert([body([record(1), record(4)])])
    assert [*first.ids, *second.ids] == [f"{number:08}" for number in (1, 2, 3, 4)]
    assert (blocks.repeated, blocks.nameless, blocks.has_shared_ids) == (2, 0, False)


def test_records_that_share_an_id_are_all_given() -> None:
    """Once a response shows an id twice, ids do not identify, and only exact repetitions are left out."""
    blocks = converter()
    same = [record(1), record(1, name="Another")]
    assert len(blocks.convert([body(same)]).ids) == 2
    assert blocks.has_shared_ids
    assert len(blocks.convert([body([record(1, name="A third"), record(1)])]).ids) == 1


async def test_requests_stay_near_what_was_taken() -> None:
    """No page is requested further ahead than allowed, and taking a block allows more."""
    sweep = Sweep(PARTNERS, number=0, page_size=PAGE_SIZE, stride=2, filters=())
    order = PageOrder(sweep, ahead=3, changed=Notifier())
    assert sweep.horizon == 3
    text = body([record(number) for number in range(PAGE_SIZE)])
    records = [json.dumps(record(number)).encode() for number in range(PAGE_SIZE)]
    sweep.plan.next_page(sweep.horizon)
    await order.receive([FetchedPage(sweep, 1, SplitBody(text, records), text, "identity")])
    sweep.record_response(1, records)
    with anyio.fail_after(5):
        assert await order.next_block() == [text]
    assert sweep.horizon == 5


@pytest.mark.parametrize("waits", [True, False])
async def test_a_block_waits_for_its_page(waits: bool) -> None:
    """The next block is given when its page is here, and a notification alone does not end the wait."""
    changed = Notifier()
    sweep = Sweep(PARTNERS, number=0, page_size=PAGE_SIZE, stride=2, filters=())
    order = PageOrder(sweep, ahead=3, changed=changed)
    with anyio.move_on_after(0.05) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(order.next_block)
            await anyio.wait_all_tasks_blocked()
            if waits:
                changed.notify_all()
    assert scope.cancelled_caught
