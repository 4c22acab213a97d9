"""Decoding: nothing a record held is lost, and the fast way gives what the exact way gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import FieldType, Kind, ListOf, RecordShape, Struct
from bulk_export.output.formats import open_part
from bulk_export.transform.decode import (
    Block,
    Decoder,
    InvalidPage,
    SplitBody,
    lossless_json,
    split_page,
)
from bulk_export.transform.decode.lossless_json import Number, RepeatedKeys
from bulk_export.transform.decode.values import parse_timestamp
from tests.support.decoding import body_of, decode, record, row
from tests.support.described import FIELDS, THINGS, endpoint
from tests.support.json_values import Pairs, Raw, records, text_of


def read_back(block: Block) -> list[dict[str, Any]]:
    """The rows after a journey through a real Parquet file; times as microseconds, days as days."""
    assert block.batch is not None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "part"
        part = open_part(path, "parquet", "zstd", block.batch.schema)
        part.write(block)
        part.close()
        table = pq.read_table(path)
    plain = [
        column.cast(plain_type(column.type)) if plain_type(column.type) != column.type else column
        for column in table.columns
    ]
    return pa.table(plain, names=table.column_names).to_pylist()


def plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_date32(kind):
        return pa.int32()
    if pa.types.is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind])
    return kind


def restored(value: Any, overlay: Any, kind: FieldType | None) -> Any:
    """What a column and its overlay say together, in a form in which equal meanings are equal."""
    if value is None:
        return told(overlay, kind)
    if isinstance(kind, Struct):
        kinds = {field.name: field.type for field in kind.fields}
        return merged(value, overlay or {}, kinds)
    if isinstance(kind, ListOf):
        left = overlay or {}
        return [restored(element, left.get(str(index)), kind.item) for index, element in enumerate(value)]
    if kind in (Kind.TIMESTAMP, Kind.DATE):
        return ("moment", value if kind is Kind.TIMESTAMP else value * 86_400_000_000)
    return exact_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def merged(members: dict[str, Any], overlay: dict[str, Any], kinds: dict[str, FieldType]) -> Any:
    together = {name: restored(member, overlay.get(name), kinds.get(name)) for name, member in members.items()}
    for name, left in overlay.items():
        if name.startswith("/") and not name.startswith("//"):
            continue
        plain = name[1:] if name.startswith("//") else name
        if plain not in members:
            together[plain] = told(left, None)
    together = {name: member for name, member in together.items() if member is not None}
    earlier = overlay.get("/overridden")
    if earlier:
        together["/overridden"] = {name: [told(value, None) for value in values_] for name, values_ in earlier.items()}
    return together


def told(value: Any, kind: FieldType | None) -> Any:
    """A value as sent, in the same form; times only where the column would have held one."""
    if isinstance(value, Number):
        return exact_number(value)
    if isinstance(value, str) and kind in (Kind.TIMESTAMP, Kind.DATE):
        from bulk_export.transform.decode.values import parse_date

        moment = parse_timestamp(value) if kind is Kind.TIMESTAMP else parse_date(value)
        if moment is not None:
            return ("moment", moment if kind is Kind.TIMESTAMP else moment * 86_400_000_000)
    if isinstance(value, dict):
        kinds = {field.name: field.type for field in kind.fields} if isinstance(kind, Struct) else {}
        members = {name: told(member, kinds.get(name)) for name, member in value.items()}
        members = {name: member for name, member in members.items() if member is not None}
        if isinstance(value, RepeatedKeys) and value.overridden():
            members["/overridden"] = {
                name: [told(one, None) for one in values_] for name, values_ in value.overridden().items()
            }
        return members
    if isinstance(value, list):
        return [told(element, kind.item if isinstance(kind, ListOf) else None) for element in value]
    return value


def exact_number(value: Any) -> Any:
    from decimal import Decimal

    return ("number", Decimal(str(value) if isinstance(value, Number) else repr(value)).normalize())


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=st.lists(records(FIELDS), max_size=4))
def test_export_is_lossless(drawn: list[Any]) -> None:
    """Columns and `_extra` together give back every record that was sent."""
    rows = read_back(decode(drawn))
    sent = [lossless_json.loads(text_of(one).encode()) for one in drawn]
    assert len(rows) == len(sent)
    for got, original in zip(rows, sent, strict=True):
        overlay = lossless_json.loads((got["_extra"] or "{}").encode())
        columns = {name: value for name, value in got.items() if name in FIELDS}
        attributes = original.get("attributes")
        if isinstance(attributes, dict):
            assert merged(columns, overlay, FIELDS) == told(attributes, Struct(THINGS.fields))
        elif attributes is not None:
            assert told(overlay["/record"]["attributes"], None) == told(attributes, None)
        around = overlay.get("/record", {})
        if isinstance(original.get("id"), str) and not isinstance(original["id"], Number) and "id" not in around:
            assert got["id"] == original["id"]
        else:
            assert told(around["id"], None) == told(original.get("id"), None)
        for name, value in original.items():
            if name not in ("id", "type", "attributes"):
                assert told(around["/" + name if name.startswith("/") else name], None) == told(value, None)


def test_unknown_members_are_kept_and_counted() -> None:
    """Unknown attributes and members are kept in `_extra` and counted at their path."""
    sent = {
        "id": "a",
        "type": "thing",
        "relationships": {"school": 1},
        "attributes": {
            **dict.fromkeys(FIELDS),
            "new": Raw("1.10"),
            "enrolments": [{"email": "e", "left": None, "x": 2}],
        },
    }
    block = decode([sent])
    assert block.batch is not None
    extra = block.batch.to_pylist()[0]["_extra"]
    assert extra == '{"enrolments":{"0":{"x":2}},"new":1.10,"/record":{"relationships":{"school":1}}}'
    assert block.drift.unknown == {"/record.relationships": 1, "new": 1, "enrolments.x": 1}


def test_reserved_names_go_to_extra() -> None:
    described = endpoint({"id": Kind.STRING, "name": Kind.STRING})
    got = row({"id": "inner", "_extra": 1, "name": "n"}, described)
    assert (got["id"], got["name"], got["_extra"]) == ("a", "n", '{"_extra":1,"id":"inner"}')


def test_repeated_keys_are_kept_and_counted() -> None:
    block = decode([{"id": "a", "type": "thing", "attributes": Pairs([("name", "first"), ("name", "second")])}])
    assert block.batch is not None
    got = block.batch.to_pylist()[0]
    assert (got["name"], got["_extra"]) == ("second", '{"/overridden":{"name":["first"]}}')
    assert block.drift.duplicate_keys == {"name": 1}


@pytest.mark.parametrize(
    ("identity", "shown"), [("null", ""), ("7", "7"), ('{"a":1}', '{"a":1}'), ('""', ""), ('"x"', "x")]
)
def test_id_that_is_no_string_is_kept(identity: str, shown: str) -> None:
    """And it does not make the record the same as another one."""
    record = f'{{"id":{identity},"type":"t","attributes":{{}}}}'.encode()
    for lines in (None, "raw"):
        block = Decoder(THINGS, columns=True, lines=lines).decode([b'{"data":[' + record + b"]}"])
        assert block.batch is not None
        assert block.batch.column("id").to_pylist() == [shown]
        without = Decoder(THINGS, columns=False, lines=lines).decode([b'{"data":[ ' + record + b"]}"])
        assert list(block.ids) == list(without.ids) == [shown if identity == '"x"' else record]


def test_raw_lines_are_compact_records() -> None:
    spaced = b'{ "data" : [ {"id" : "a", "attributes":{"n": 1.10, "t": "a  \\u003c\\" b" ,\n"l":[ 1 , 2 ]}} ] }'
    (line,) = Decoder(THINGS, columns=False, lines="raw").decode([spaced]).lines or ()
    assert line == b'{"id":"a","attributes":{"n":1.10,"t":"a  \\u003c\\" b","l":[1,2]}}'


def test_lone_surrogate_is_kept() -> None:
    spaced = b'{"data":[{"id":"a","attributes":{"name": "\\ud800 x"}}, {"id":"b"}]}'
    block = Decoder(THINGS, columns=True, lines="raw").decode([spaced])
    assert list(block.lines or ()) == [b'{"id":"a","attributes":{"name":"\\ud800 x"}}', b'{"id":"b"}']
    assert block.batch is not None
    assert block.batch.to_pylist()[0]["_extra"] == '{"name":"\\ud800 x"}'


def test_block_without_rows() -> None:
    block = decode([record(name=str(number)) | {"id": str(number)} for number in range(5)]).without({0, 3})
    assert list(block.ids) == ["1", "2", "4"]
    assert block.batch is not None
    assert block.batch.column("id").to_pylist() == ["1", "2", "4"]
    assert [json.loads(line)["id"] for line in block.lines or ()] == ["1", "2", "4"]


@pytest.mark.parametrize("depth", [190, 700, 810, 900])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("member", [b'"attributes":{"new":%b}', b'"attributes":{"name":%b}', b'"other":%b', b'"id":%b'])
def test_deep_nesting_is_kept(depth: int, opening: bytes, closing: bytes, member: bytes) -> None:
    """Deep nesting is kept, as far as a page with it is accepted."""
    sent = b'{"id":"a",' + member % (opening * depth + b"1.0" + closing * depth) + b"}"
    block = Decoder(THINGS, columns=True, lines="raw").decode([b'{"data":[' + sent + b"]}"] * 4)
    assert list(block.lines or ()) == [sent] * 4
    assert block.batch is not None
    for columns in block.batch.to_pylist():
        assert columns["_extra"].encode().count(opening) >= depth
        if depth > 800:
            assert columns["_extra"] == '{"/whole":' + sent.decode() + "}"


def test_page_nested_too_deeply_is_invalid() -> None:
    body = b'{"data":[{"id":"a","attributes":{"name":' + b"[" * 10_000 + b"]" * 10_000 + b"}}]}"
    with pytest.raises(InvalidPage, match="too deeply"):
        Decoder(THINGS, columns=True, lines="raw").decode([body])


def test_very_long_string_is_kept() -> None:
    sent = "x\u0000é" * 1_000_000
    block = decode([record(name=sent)])
    assert block.batch is not None
    assert block.batch.column("name").to_pylist() == [sent]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80) | st.text(max_size=60).map(str.encode))
def test_arbitrary_bytes(body: bytes) -> None:
    """Arbitrary bytes are a page or invalid, and never another exception."""
    for content in (body, b'{"data":[' + body + b"]}", b'{"data":[{"id":' + body + b"}]}"):
        try:
            records_ = split_page(content)
        except InvalidPage:
            continue
        block = Decoder(THINGS, columns=True, lines="raw").decode([content])
        assert len(block.ids) == len(records_)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(records(FIELDS), max_size=4), st.sampled_from(["raw", "flat", None]))
def test_split_body_gives_the_same_block(drawn: list[Any], lines: Any) -> None:
    """A body that is split already gives what its text gives."""
    body = body_of(drawn)
    known = SplitBody(body, split_page(body))
    ways = [Decoder(THINGS, columns=lines is None, lines=lines).decode([given]) for given in (body, known)]
    one, other = ((list(block.ids), list(block.lines or ()), block.batch, block.drift.to_json()) for block in ways)
    assert one == other


def test_records_without_id_have_a_null() -> None:
    """Records of a shape without an id have a null in that column, and nothing in `_extra` for it."""
    shape = RecordShape(at=(), id=(), type=None, attributes=())
    nameless = replace(endpoint({"size": Kind.INTEGER}), shape=shape)
    block = Decoder(nameless, columns=True, lines="raw").decode([b'[{"size":1},{"size":1},{"size":2,"id":"a"}]'])
    assert block.batch is not None
    assert block.batch.schema.field("id").nullable
    assert [tuple(row.values()) for row in block.batch.to_pylist()] == [
        (None, None, 1, None),
        (None, None, 1, None),
        (None, None, 2, '{"id":"a"}'),
    ]
    assert list(block.lines or ()) == [b'{"size":1}', b'{"size":1}', b'{"size":2,"id":"a"}']
