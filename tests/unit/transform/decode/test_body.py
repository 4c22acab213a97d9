"""Which bodies are pages."""

from __future__ import annotations

import pytest

from bulk_export.transform.decode import InvalidPage, split_page


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
