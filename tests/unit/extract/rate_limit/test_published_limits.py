"""The limits that services announce, in the ways that there are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.extract.rate_limit.published_limits import PublishedLimit, published_limits

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({}, ()),
        ({"Content-Type": "application/json"}, ()),
        (
            {
                "RateLimit-Policy": '"burst";q=100;w=60, "day";q=1000;w=86400',
                "ratelimit": '"burst";r=9;t=5, "day";r=8;t=7',
            },
            (PublishedLimit(100, 60, 9, 5), PublishedLimit(1000, 86400, 8, 7)),
        ),
        (
            {"RateLimit-Policy": "1000;w=300", "RateLimit": "limit=1000, remaining=998, reset=12"},
            (PublishedLimit(1000, 300, 998, 12),),
        ),
        ({"RateLimit": "limit=5, remaining=4, reset=3"}, (PublishedLimit(5, None, 4, 3),)),
        ({"RateLimit": '"default";r=4;t=3'}, (PublishedLimit(None, None, 4, 3),)),
        (
            {"RateLimit-Limit": "1000, 1000;w=300", "RateLimit-Remaining": "998", "RateLimit-Reset": "12"},
            (PublishedLimit(1000, 300, 998, 12),),
        ),
        (
            {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1800000060"},
            (PublishedLimit(5000, None, 4999, 60),),
        ),
        ({"X-Rate-Limit-Limit": "10"}, (PublishedLimit(10),)),
        ({"X-RateLimit-Limit": "unlimited"}, ()),
        ({"X-RateLimit-Limit": "-5"}, ()),
        ({"RateLimit-Policy": "9" * 400}, ()),
    ],
)
def test_headers(headers: dict[str, str], limits: tuple[PublishedLimit, ...]) -> None:
    """Each way is understood, and what is none of them counts as absent."""
    assert published_limits(headers, NOW) == limits


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Reset", "X-RateLimit-Limit"]),
        st.text('0123456789qwrt=;, "x', max_size=60),
    )
)
def test_anything(headers: dict[str, str]) -> None:
    """A header may hold anything."""
    assert len(published_limits(headers, NOW)) <= 10
