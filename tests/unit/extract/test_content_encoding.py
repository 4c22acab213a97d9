"""Bodies as sent, inflated under a cap."""

from __future__ import annotations

import gzip

import pytest

from bulk_export.extract.content_encoding import Undecodable, inflate

BODY = b"0123456789" * 10


def test_members_and_padding_are_one_body() -> None:
    packed = gzip.compress(BODY[:40], mtime=0) + gzip.compress(BODY[40:], mtime=0) + b"\0" * 9
    assert inflate(packed, "gzip", 100) == BODY
    assert inflate(BODY, "", 100) is BODY


@pytest.mark.parametrize(
    ("body", "encoding", "oversized"),
    [
        (gzip.compress(BODY, mtime=0), "gzip", True),
        (gzip.compress(BODY[:60], mtime=0) + gzip.compress(BODY[:60], mtime=0), "gzip", True),
        (BODY, "identity", True),
        (gzip.compress(BODY[:50], mtime=0)[:-9], "gzip", False),
        (b"no gzip", "x-gzip", False),
        (b"", "br", False),
    ],
)
def test_what_cannot_be_inflated_is_named(body: bytes, encoding: str, *, oversized: bool) -> None:
    """A body beyond the cap is told from a damaged one: it stays as it is however often it is requested."""
    with pytest.raises(Undecodable) as error:
        inflate(body, encoding, 99)
    assert error.value.oversized is oversized
