"""What ledger.lua is given: names, constants, and what a process knows of the record."""

from __future__ import annotations

from dataclasses import replace

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.key import RateLimitKey
from bulk_export.extract.rate_limit.redis.script_arguments import (
    RecordWatch,
    key_names,
    process_arguments,
    retry_after_arguments,
)
from bulk_export.extract.rate_limit.retry_after import RetryAfter

KEY = RateLimitKey.of(b"k" * 32, "https://service.example", Token("the-token"))
LIMITS = Limits(Limit(4, 60.0), Limit(3, 30.0), (None,), 20.0, 10.0)


def test_names_of_keys() -> None:
    """The names belong to the format of the record, and share a hash tag."""
    own, service = f"{KEY.number:x}", f"{KEY.service_number:x}"
    assert key_names(KEY) == [
        "{bulk-export}:2:secret",
        "{bulk-export}:2:server",
        f"{{bulk-export}}:2:{service}:clock",
        *(f"{{bulk-export}}:2:{own}:{kind}" for kind in ("state", "spent", "through", "queue", "waiters")),
    ]


def test_token_is_not_sent() -> None:
    """The server gets a hash of the token only."""
    assert "the-token" not in repr(process_arguments(KEY, LIMITS, "claimant"))


def test_times_are_microseconds() -> None:
    """Times are whole microseconds; what a 429 did not say is absent."""
    arguments = process_arguments(KEY, LIMITS, "claimant")
    assert (arguments["service_period"], arguments["longest_request"]) == (60_000_000, 20_000_000)
    silent = RetryAfter(retry_after=None, window_boundary=None, period=60.0, uniform=0.5)
    assert retry_after_arguments(silent) == {"period": 60_000_000, "longest_retry_after": 60_000_000, "uniform": 0.5}
    assert retry_after_arguments(replace(silent, retry_after=1.5))["retry_after"] == 1_500_000


def test_emptied_record_is_suspect() -> None:
    """A record that was emptied is suspect if something in it could still matter, until the server was told so."""
    watch = RecordWatch(memory_seconds=90.0)
    assert watch.arguments(5.0) == {"suspect": False, "known": False}
    replied = watch.after_reply(1_000, sent_at=5.0)
    assert replied.arguments(6.0) == {"suspect": False, "known": True, "seen": 1_000, "elapsed": 1_000_000}
    assert replied.after_emptying(94.9).arguments(95.0) == {"suspect": True, "known": False}
    assert replied.after_emptying(95.0).arguments(95.0) == {"suspect": False, "known": False}
    assert replied.after_emptying(94.9).after_emptying(200.0).is_suspect
    assert not replied.after_emptying(94.9).after_reply(2_000, sent_at=96.0).is_suspect
