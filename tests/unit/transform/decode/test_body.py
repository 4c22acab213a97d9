"""Which bodies are pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.transform.decode import InvalidPage, split_page
from bulk_export.transform.decode.body import split_compact_page


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"data":[]}', []),
        (b' {"data" : [ ] } \n', []),
        (b'\xef\xbb\xbf{"data":[{"id":1}]}', [b'{"id":1}']),
        (b'{"meta":{"data":[1]},"data":[{"a":"data"},{}],"x":1}', [b'{"a":"data"}', b"{}"]),
        (b'{"data":[{"a":"\\ud800"}, {"b":1e999}]}', [b'{"a":"\\ud800"}', b'{"b":1e999}']),
        (b'{"data":[{"a":' + b"9" * 5_000 + b"}]}", [b'{"a":' + b"9" * 5_000 + b"}"]),
    ],
)
def test_page_is_split_into_records(body: bytes, records: list[bytes]) -> None:
    assert split_page(body) == records


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"data":null}',
        b'{"data":{}}',
        b'{"data":[1]}',
        b'{"data":[[]]}',
        b'{"errors":[{"title":"x"}]}',
        b"<html></html>",
        b'{"data":[{"a":NaN}]}',
        b'{"data":[{"a":"\\ud800","b":NaN}]}',
        b'{"data":[{"a":"\\ud800","b":Infinity}]}',
        b'{"data":[{"a":01}]}',
        b'{"data":[{"a":1},]}',
        b'{"data":[{"a":"\xff"}]}',
        b'{"data":[{"a":"x\ny"}]}',
        b'{"data":[]} x',
        b'{"data":[{"a":"\\ud800"}]} x',
        b'{"data":[],"data":[{"a":1}]}',
        b'{"data":[{"a":"\\ud800"}],"data":[]}',
        b'{"data":[{"a":1}],"d\\u0061ta":[]}',
        b'{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"data":[{"a":"\\ud800","b":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}",
    ],
)
def test_anything_else_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidPage):
        split_page(body)


@pytest.mark.parametrize(
    "whole", [b'{"data":[{"id":"a","n":[1,2]},{"id":"b"}]}', b'{"data":[{"id":"\\ud800"},{"b":2}]}']
)
def test_body_cut_anywhere_is_invalid(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(InvalidPage):
            split_page(whole[:length])


def test_reason_never_quotes_the_body() -> None:
    for body in (b'{"data":[{"secret":tru}]}', b'{"data":["secret"]}', b'{"data":[{"a":"\\ud800 secret}]}'):
        with pytest.raises(InvalidPage) as refused:
            split_page(body)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('{"data":[{"a":"é\xff"}]}'.encode("latin-1"), "not UTF-8 at byte 15"),
        ('{"data":[{"a":"é"},tru]}'.encode(), "not JSON at byte 20"),
        ('{"data":[{"a":"é"}'.encode(), "cut short at byte 19"),
        (b'{"data":[{"a":1},7]}', "record 2 is not an object"),
    ],
)
def test_reason_says_where(body: bytes, where: str) -> None:
    with pytest.raises(InvalidPage) as refused:
        split_page(body)
    assert str(refused.value) == where


VALUES = st.text(max_size=4) | st.integers() | st.just([{"id": "x"}])
USUAL = st.fixed_dictionaries(
    {
        "id": st.text(max_size=4),
        "type": st.sampled_from(["thing", "é", 1, None]),
        "attributes": st.dictionaries(st.sampled_from(["a", "id", "é", "data"]), VALUES, max_size=3),
    }
)


@given(st.lists(USUAL, min_size=1, max_size=4), st.booleans(), st.randoms())
def test_compact_page_is_split_with_ids(records: list[dict[str, Any]], ascii_only: bool, random: Any) -> None:
    """The fast split gives the records and ids of a compact page, or declines it."""
    for record in records:
        members = list(record.items())
        random.shuffle(members)
        record.clear()
        record.update(members)
    plain = json.dumps({"data": records}, ensure_ascii=ascii_only, separators=(",", ":"))
    if found := split_compact_page(plain.encode()):
        assert list(found.records) == split_page(plain.encode())
        assert found.records[-1] == list(found.records)[-1] == found.records[-2:][-1]
        assert found.ids == [record["id"] for record in records]
    else:
        assert not all(record["id"].isascii() and json.dumps(record["id"])[1:-1] == record["id"] for record in records)


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[]}',
        b'{"data": [{"id":"a","type":"t","attributes":{}}]}',
        b'{"data":[{"id":"a","type":"t","attributes": {}}]}',
        b'{"data":[{"id":"a","type":"t","attributes":{}}],"data":[{"id":"a","type":"t","attributes":{}}]}',
        b'{"data":[{"id":"a","type":"t","attributes":{},"id":"a"}]}',
        b'{"data":[{"id":"a","type":"t","attributes":{},"x":1}]}',
        b'{"data":[{"id":"a","type":"t"}]}',
        b'{"data":[{"id":1,"type":"t","attributes":{}}]}',
        b'{"data":[{"id":"\\u0061","type":"t","attributes":{}}]}',
        b'{"data":[{"id":"a","type":"t","attributes":{"a":"\\ud800"}}]}',
        b'{"data":[{"id":"a","type":"t","attributes":{"a":"\xff"}}]}',
        b'{"data":[{"id":"a","type":"t","attributes":{}}],"meta":{}}',
        b'{"data":[{"id":"a","type":"t","attributes":{}}]} ',
        b'\xef\xbb\xbf{"data":[{"id":"a","type":"t","attributes":{}}]}',
    ],
)
def test_fast_split_declines_other_bodies(body: bytes) -> None:
    assert split_compact_page(body) is None


def test_fast_split_declines_cut_bodies() -> None:
    whole = b'{"data":[{"id":"a","type":"t","attributes":{"x":[1,{"id":"b"}]}}]}'
    assert split_compact_page(whole) is not None
    assert not any(split_compact_page(whole[:length]) for length in range(len(whole)))
