"""Which JSON values fit which column."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulk_export.core.model import Kind
from bulk_export.transform.decode import Decoder
from tests.support.decoding import body_of, record, row
from tests.support.described import endpoint
from tests.support.json_values import Raw


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Kind.INTEGER, "9223372036854775807", 9223372036854775807),
        (Kind.INTEGER, "1.0", None),
        (Kind.INTEGER, "9223372036854775808", None),
        (Kind.INTEGER, '"7"', None),
        (Kind.NUMBER, "7", 7.0),
        (Kind.NUMBER, "0.1", 0.1),
        (Kind.NUMBER, "9007199254740993", None),
        (Kind.NUMBER, "0.10000000000000000000001", None),
        (Kind.NUMBER, "1e400", None),
        (Kind.NUMBER, "-1e-99999999999999999999", None),
        (Kind.NUMBER, "0e99999999999999999999", 0.0),
        (Kind.BOOLEAN, '"true"', None),
        (Kind.BOOLEAN, "1", None),
        (Kind.STRING, "7", None),
        (Kind.STRING, '"\\ud800"', None),
    ],
)
def test_value_fits_only_without_loss(kind: Kind, text: str, expected: Any) -> None:
    got = row({"value": Raw(text)}, endpoint({"value": kind}))
    assert got["value"] == expected
    assert got["_extra"] == (None if expected is not None else '{"value":' + text + "}")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Kind.TIMESTAMP, "2021-05-31T02:21:32Z", "2021-05-31T02:21:32Z"),
        (Kind.TIMESTAMP, "2021-05-31T02:21:32.000Z", "2021-05-31T02:21:32Z"),
        (Kind.TIMESTAMP, "2021-05-31T02:21:32.123456+01:00", "2021-05-31T01:21:32.123456Z"),
        (Kind.TIMESTAMP, "2021-05-31", "2021-05-31T00:00:00Z"),
        (Kind.TIMESTAMP, "2021-05-31T02:21:32.1234567Z", None),
        (Kind.TIMESTAMP, "2021-05-31T02:21:32", None),
        (Kind.TIMESTAMP, "2021-05-31T23:59:60Z", None),
        (Kind.TIMESTAMP, "soon", None),
        (Kind.DATE, "2021-05-31", "2021-05-31"),
        (Kind.DATE, "2021-05-31T00:00:00+00:00", "2021-05-31"),
        (Kind.DATE, "2021-05-31T00:00:00.000Z", "2021-05-31"),
        (Kind.DATE, "2021-05-31T00:00:00+01:00", None),
        (Kind.DATE, "2021-05-31T00:00:01Z", None),
        (Kind.DATE, "2021-02-30", None),
    ],
)
def test_timestamps_and_dates(kind: Kind, text: str, expected: str | None) -> None:
    """Times and dates fit their column only without loss."""
    described = endpoint({"value": kind})
    block = Decoder(described, columns=False, lines="flat").decode([body_of([record(value=text)])])
    assert block.lines is not None
    flat = json.loads(block.lines[0])
    assert flat["value"] == expected
    assert flat["_extra"] == (None if expected else json.dumps({"value": text}, separators=(",", ":")))
