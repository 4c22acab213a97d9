"""JSON without loss."""

from __future__ import annotations

import pytest

from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.lossless_json import Number, RepeatedKeys


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1.10,"b":[1e400,-0,9007199254740993],"c":null}',
        b'{"a":1,"a":{"b":2,"b":3},"c":[true,false]}',
        b'["\\ud800"]',
        b'[[],{},""]',
    ],
)
def test_text_is_written_as_it_was_read(text: bytes) -> None:
    """Digits, repeated keys and lone surrogates survive."""
    assert lossless_json.dumps(lossless_json.loads(text)) == text.decode()


def test_overridden_values_of_repeated_keys() -> None:
    """The last value of a repeated key counts, and the earlier ones are kept."""
    value = lossless_json.loads(b'{"a":1,"b":2,"a":3,"a":4}')
    assert isinstance(value, RepeatedKeys)
    assert dict(value) == {"a": Number("4"), "b": Number("2")}
    assert value.overridden() == {"a": [Number("1"), Number("3")]}


@pytest.mark.parametrize(("text", "depth"), [(b"1", 0), (b'"[[["', 0), (b'[{"a":[]}]', 3), (b'[[],[],{"[":"{"}]', 2)])
def test_nesting_is_measured_outside_of_strings(text: bytes, depth: int) -> None:
    assert not lossless_json.nested_deeper_than(depth, text)
    assert depth == 0 or lossless_json.nested_deeper_than(depth - 1, text)


def test_deep_values_are_written_without_recursion() -> None:
    value: list[object] = []
    for _ in range(5_000):
        value = [value]
    assert lossless_json.dumps(value) == "[" * 5_001 + "]" * 5_001
