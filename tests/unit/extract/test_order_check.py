"""Order keys at the edges of pages."""

from __future__ import annotations

import itertools

from bulk_export.core.model import Endpoint, Field, Kind
from bulk_export.extract.order_check import _microseconds, count_backward_pages, edge_reader
from bulk_export.transform.decode.values import parse_timestamp
from tests.support.exporting import NPQ

_ENDPOINTS = {endpoint.name: endpoint for endpoint in NPQ}
APPLICATIONS, PARTICIPANTS = _ENDPOINTS["npq-applications"], _ENDPOINTS["participants-npq"]


def record(created_at: str) -> bytes:
    return b'{"id":"x","attributes":{"created_at":"%b"}}' % created_at.encode()


def test_edges_are_times_of_first_and_last_record() -> None:
    edges = edge_reader(APPLICATIONS)
    first, last = edges([record("1970-01-01T00:00:01Z"), record("nonsense"), record("1970-01-01T02:00:03+02:00")])
    assert (first, last) == (1_000_000, 3_000_000)
    assert edges([record("nonsense"), b'{"id":"y"}']) == (None, None)
    assert edges([]) == (None, None)


def test_other_orders_have_no_edges() -> None:
    """An endpoint that is not ordered by a time which its records show has no order keys."""
    assert edge_reader(PARTICIPANTS)([record("1970-01-01T00:00:01Z")]) == (None, None)
    named = Endpoint("x", "/x", "x", (Field("name", Kind.STRING),), (), None, None, ("name",), order_is_total=False)
    assert edge_reader(named)([b'{"attributes":{"name":"a"}}']) == (None, None)


def test_backward_pages_are_counted() -> None:
    """Pages that begin before the end of the page in front of them; missing keys say nothing."""
    assert (
        count_backward_pages([])
        == count_backward_pages([(1, 2)])
        == count_backward_pages([(1, 2), (2, 2), (3, 9)])
        == 0
    )
    assert count_backward_pages([(1, 5), (4, 6), (6, 7), (2, 3)]) == 2
    assert count_backward_pages([(1, None), (0, 1), (None, 3)]) == 0


_PARTS = ["2024-02-29", "1970-01-01", "2023-02-29", "0001-01-01", "9999-12-31", "2020-W01-1", "20240229", "२०२४-०२-२९"]
_CLOCKS = ["00:00:00", "23:59:59", "23:59:60", "24:00:00", "12:30", "123000", "12:30:00"]
_FRACTIONS = ["", ".5", ".123", ".123456", ".123456789", ".123456000", ",123"]
_ZONES = ["Z", "z", "+00:00", "-01:30", "+24:00", ""]


def test_usual_times_are_read_as_all_others() -> None:
    """The short way for usual times gives what the definition gives for every text."""
    for day, mark, clock, fraction, zone in itertools.product(_PARTS, "Tt _", _CLOCKS, _FRACTIONS, _ZONES):
        text = f"{day}{mark}{clock}{fraction}{zone}"
        assert _microseconds(text) == parse_timestamp(text), text
