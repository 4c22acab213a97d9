"""How values are stored in the budget file: as JSON whose keys belong to the file's format, not to the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import msgspec

from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.throttle_state import ThrottleState

T = TypeVar("T", Limits, ThrottleState)

# Fields whose stored keys differ from their names. ledger.lua stores the throttle state under the same keys.
_LIMITS_KEYS = {"max_count_delay": "late"}
_THROTTLE_STATE_KEYS = {
    "consecutive_429s": "refusals",
    "ignore_claims_until": "epoch",
    "ceiling_since": "since",
    "growth_per_second": "growth",
    "hold_length": "held",
}


def encode_limits(limits: Limits) -> str:
    """Return limits as stored text."""
    return _encode(limits, _LIMITS_KEYS)


def decode_limits(text: str) -> Limits:
    """Return limits from stored text. Raises msgspec.MsgspecError for any other."""
    return _decode(text, Limits, _LIMITS_KEYS)


def encode_throttle_state(state: ThrottleState) -> str | None:
    """Return a throttle state as stored text; the default state is stored as NULL."""
    return None if state == ThrottleState() else _encode(state, _THROTTLE_STATE_KEYS)


def decode_throttle_state(text: str | None) -> ThrottleState:
    """Return a throttle state from stored text. Raises msgspec.MsgspecError for any other."""
    return ThrottleState() if text is None else _decode(text, ThrottleState, _THROTTLE_STATE_KEYS)


def _encode(value: Limits | ThrottleState, keys: Mapping[str, str]) -> str:
    stored = {keys.get(field.name, field.name): getattr(value, field.name) for field in fields(value)}
    return msgspec.json.encode(stored).decode()


def _decode(text: str, kind: type[T], keys: Mapping[str, str]) -> T:
    stored = msgspec.json.decode(text, type=dict[str, Any])
    names = {key: name for name, key in keys.items()}
    return msgspec.convert({names.get(key, key): value for key, value in stored.items()}, kind)
