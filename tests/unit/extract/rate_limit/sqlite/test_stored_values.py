"""The JSON in a budget file: its keys stay, whatever the fields are called."""

from __future__ import annotations

import json

import msgspec
import pytest

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.sqlite.stored_values import (
    decode_limits,
    decode_throttle_state,
    encode_limits,
    encode_throttle_state,
)
from bulk_export.extract.rate_limit.throttle_state import ThrottleState

LIMITS = Limits(Limit(1000, 300.0), Limit(300, 300.0), ("10.0.0.1", None), 35.0, 90.0)
STORED_LIMITS = {
    "service_limit": {"requests": 1000, "period": 300.0},
    "address_limit": {"requests": 300, "period": 300.0},
    "sources": ["10.0.0.1", None],
    "longest_request": 35.0,
    "late": 90.0,
}
STATE = ThrottleState(
    hold_until=1.0,
    consecutive_429s=2,
    probe=3,
    probe_until=4.0,
    ignore_claims_until=5.0,
    ceiling=6.0,
    ceiling_since=7.0,
    growth_per_second=8.0,
    hold_length=9.0,
)
STORED_STATE = {
    "hold_until": 1.0,
    "refusals": 2,
    "probe": 3,
    "probe_until": 4.0,
    "epoch": 5.0,
    "ceiling": 6.0,
    "since": 7.0,
    "growth": 8.0,
    "held": 9.0,
}


def test_keys_of_limits() -> None:
    """Limits are stored under the keys of the file's format, and read from them."""
    assert json.loads(encode_limits(LIMITS)) == STORED_LIMITS
    assert decode_limits(json.dumps(STORED_LIMITS)) == LIMITS


def test_keys_of_throttle_state() -> None:
    """A throttle state is stored under the keys of the file's format, and read from them."""
    assert json.loads(encode_throttle_state(STATE) or "") == STORED_STATE
    assert decode_throttle_state(json.dumps(STORED_STATE)) == STATE


def test_default_state_is_null() -> None:
    """The state of a service that does not throttle is stored as NULL."""
    assert encode_throttle_state(ThrottleState()) is None
    assert decode_throttle_state(None) == ThrottleState()


@pytest.mark.parametrize("text", ["", "[]", '{"refusals": "2"}', '{"hold_until": null}'])
def test_other_text_is_refused(text: str) -> None:
    """Text of another shape is an error, which the ledger reports as damage."""
    with pytest.raises(msgspec.MsgspecError):
        decode_throttle_state(text)
