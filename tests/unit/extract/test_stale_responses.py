"""Responses that may belong to an earlier request: asked for again, apart, and compared."""

from __future__ import annotations

from bulk_export.extract.stale_responses import StaleResponses
from tests.support.fetching import Client, page_of, response
from tests.support.paged_list import sweep_over


def test_an_echo_that_is_confirmed_is_believed() -> None:
    client, sweep = Client(lambda _: None), sweep_over(2)
    stale = StaleResponses(client.distrust)
    body = page_of(2)
    assert sweep.plan.next_page() == 1
    assert stale.must_request_again(response(body, is_echo=True), sweep, 1)
    assert stale.needs_new_connection(sweep, 1)
    assert sweep.plan.next_page() == 1
    assert not stale.must_request_again(response(body), sweep, 1)
    assert not client.is_distrusted
    assert not sweep.may_be_answered_wrongly


def test_an_echo_that_is_contradicted_ends_all_trust() -> None:
    """Connections are distrusted, and every sweep may have been answered wrongly."""
    client, sweep, other = Client(lambda _: None), sweep_over(2), sweep_over(2)
    stale = StaleResponses(client.distrust)
    sweep.plan.next_page()
    stale.must_request_again(response(page_of(2), is_echo=True), sweep, 1)
    sweep.plan.next_page()
    assert not stale.must_request_again(response(page_of(2, first=7)), sweep, 1)
    assert not stale.must_request_again(response(page_of(1)), other, 1)
    assert (client.is_distrusted, sweep.may_be_answered_wrongly) == (True, True)
    assert other.may_be_answered_wrongly
