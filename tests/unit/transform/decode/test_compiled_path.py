"""The compiled way: what it takes equals what the exact way gives, and what is no page it never takes."""

from __future__ import annotations

import ctypes
import functools
import json
import random
import threading
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.kernel_library import load_kernel
from bulk_export.core.model import Endpoint, Kind
from bulk_export.services.catalogue import load_service
from bulk_export.services.local.records import RecordFactory
from bulk_export.transform import schema
from bulk_export.transform.decode import Decoder, Drift
from bulk_export.transform.decode.compiled_path import compiled_decoder, texts_of
from bulk_export.transform.decode.scanned_page import scan_page
from bulk_export.transform.redaction import NO_REDACTION, Redaction
from tests.support.comparison import Comparison
from tests.support.described import FIELDS, THINGS, endpoint, page, record, spaced
from tests.support.json_values import Raw, records
from tests.support.mutation import mutated

pytestmark = pytest.mark.skipif(load_kernel() is None, reason="the kernel is not built, or not wanted")

KEY = b"a key of the length that is asked for"
REDACTIONS = [
    NO_REDACTION,
    Redaction.from_paths(["name", "enrolments.left.date"], ["id", "years", "enrolments.email", "relationships"], KEY),
    Redaction.from_paths(["enrolments", "score"], ["type", "new", "updated_at", "aliases"], KEY),
]
USUAL = record(
    name="Ann",
    paid=True,
    age=3,
    score=1.5,
    updated_at="2024-01-01T00:00:00Z",
    day="2024-02-29",
    years=[1, 2],
    aliases=["x", None],
    enrolments=[{"email": "e", "left": {"reason": "r", "date": "2024-01-01T00:00:00.123Z"}}, None],
)
DRIFTED = record(
    name=3,
    age=1.5,
    updated_at="yesterday",
    years=[1, "two", None],
    new={"deep": [1, {"text": 'a\n"é'}]},
    enrolments=[{"email": None, "also": True, "left": {"reason": ["r"], "date": "2024-01-01"}}],
)


@pytest.fixture(scope="module", params=range(len(REDACTIONS)), ids=["nothing redacted", "redacted", "otherwise"])
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return Comparison(redaction=REDACTIONS[request.param])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    drawn=st.lists(records(FIELDS), max_size=3),
    redaction=st.sampled_from(range(len(REDACTIONS))),
    with_white_space=st.booleans(),
)
def test_drawn_records_agree(drawn: list[Any], redaction: int, with_white_space: bool) -> None:
    """Records with values of every type, described or not, repeated and odd, are decoded alike or declined."""
    body = page(*drawn)
    _COMPARISONS.setdefault(redaction, Comparison(redaction=REDACTIONS[redaction])).takes(
        spaced(body) if with_white_space else body
    )


_COMPARISONS: dict[int, Comparison] = {}


@pytest.mark.parametrize("drawn", [(), (USUAL,), (USUAL, USUAL), (DRIFTED,), (USUAL, DRIFTED, USUAL)], ids=len)
def test_described_and_drifted_pages_are_taken(drawn: tuple[Any, ...]) -> None:
    """Unknown members and values of another type go to `_extra` without leaving the compiled way."""
    comparison = Comparison()
    assert comparison.takes(page(*drawn))
    assert comparison.takes(spaced(page(*drawn)))


def test_redacted_pages_are_taken(comparison: Comparison) -> None:
    """Dropped and pseudonymised members do not leave the compiled way, escapes included."""
    assert comparison.takes(page(USUAL, record(name='\u00e9"\\', new="\n", gone=1)))


def test_members_beside_the_attributes_are_taken() -> None:
    """They go under `/record`, in the order of their names, a leading slash doubled."""
    assert Comparison().takes(page({**USUAL, "links": {"self": "/x"}, "/about": 1, "about": None}, DRIFTED | {"z": []}))


@pytest.mark.parametrize("service", ["npq", "ecf", "ect"])
def test_pages_of_the_built_in_services_are_taken(service: str) -> None:
    """Awkward strings, nested lists and empty values of the bundled service are all as described."""
    for described in load_service(service):
        factory = RecordFactory(described, 0, people=50, applications=50)
        made = (factory.record(n, 0, factory.created_at(n), factory.updated_at(n)) for n in range(30))
        assert Comparison(described).takes(('{"data":[' + ",".join(made) + "]}").encode())


DECLINED = [
    page(USUAL | {"id": None}),
    page(USUAL | {"id": 3}),
    page({"id": "a", "type": "thing"}),
    page({"id": "a", "attributes": {}}),
    page(record(name=Raw('"\\ud800"'))),
    page(record(new=Raw("[" * 80 + "]" * 80))),
    page(record(**{"a\\b": 1})),
    page(USUAL).replace(b'"name":', b'"name":"x","name":'),
    page(USUAL).replace(b'"age"', b'"\\u0061ge"'),
    b"\xef\xbb\xbf" + page(USUAL),
]


@pytest.mark.parametrize("body", DECLINED, ids=range(len(DECLINED)))
def test_what_only_the_exact_way_can_judge_is_declined(body: bytes) -> None:
    """Odd ids, lone surrogates, repeated and escaped keys, deep nesting, a byte order mark."""
    assert not Comparison().takes(body)


def test_only_the_odd_page_is_declined() -> None:
    """Pages are taken up to the first that is declined, and those behind it by the next call."""
    decoder = compiled_decoder(THINGS, NO_REDACTION, schema.arrow_schema(THINGS))
    assert decoder is not None
    drift = Drift()
    odd = page(record(name=Raw('"\\ud800"'), new=1))
    block = decoder.decode([page(USUAL), page(DRIFTED, USUAL), odd, page(USUAL)], drift)
    assert block.rows_per_page == [1, 2]
    assert block.batch.num_rows == 3
    assert drift.unknown == {"new": 1, "enrolments.also": 1}
    whole = Decoder(THINGS, columns=True, lines=None).decode([page(USUAL), odd, page(USUAL)])
    assert whole.rows_per_page == [1, 1, 1]


TIMES = [
    "2024-02-29T23:59:59Z",
    "2023-02-29T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999-00:01",
    "0000-01-01T00:00:00Z",
    "2024-01-01t00:00:00z",
    "2024-01-01T00:00:00.1234567Z",
    "2024-01-01T00:00:00.1234560000Z",
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00",
    "2024-01-01T00:00:60Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:00:00+23:59",
    "2024-01-01T00:00:00+24:00",
    "2024-01-01T00:00:00-00:00",
    "2024-01-01T00:00:00+01:60",
    "2024-01-01 00:00:00Z",
    "2024-01-01",
    "2024-13-01",
    "1900-02-29",
    "2000-02-29",
    "",
    "2024-01-01T00:00:00Zé",
    "2024-01-01T02:00:00+02:00",
]


@pytest.mark.parametrize("text", TIMES)
def test_times_agree(text: str) -> None:
    """Every form of RFC 3339, the ends of the calendar, and what is no time."""
    assert Comparison().takes(
        page(record(updated_at=text, day=text, enrolments=[{"email": "", "left": {"date": text}}]))
    )


def test_mutated_pages_agree(comparison: Comparison) -> None:
    """A few changed bytes never make the two ways disagree, and never a page of what is none."""
    chance = random.Random(16)
    bodies = [page(USUAL), page(DRIFTED, USUAL), spaced(page(USUAL))]
    taken = sum(comparison.takes(mutated(chance, chance.choice(bodies))) for _ in range(1_500))
    assert taken > 50


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(8))
def test_many_mutated_pages_agree(comparison: Comparison, seed: int) -> None:
    """The same with a hundred thousand pages."""
    chance = random.Random(seed)
    bodies = [page(USUAL), page(DRIFTED, USUAL), spaced(page(USUAL)), spaced(page(DRIFTED))]
    for _ in range(12_500):
        comparison.takes(mutated(chance, chance.choice(bodies)))


def test_pages_cut_short_or_with_a_bit_flipped_agree() -> None:
    """Truncation at every byte, and every byte changed."""
    comparison = Comparison()
    body = page(DRIFTED)
    for at in range(len(body)):
        assert not comparison.takes(body[:at])
        comparison.takes(body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :])


PLANES = ["\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "\u2028"]


@pytest.mark.parametrize("character", PLANES, ids=lambda character: f"U+{ord(character):04X}")
@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "raw"])
def test_characters_of_every_plane_agree(character: str, escaped: bool) -> None:
    """At every position relative to the sixteen bytes that are read at once."""
    comparison = Comparison()
    for before in range(18):
        text = "x" * before + character + "y" * 3
        made = record(name=text, new=text, aliases=[text])
        body = json.dumps({"data": [made]}, ensure_ascii=escaped, separators=(",", ":"))
        assert comparison.takes(body.encode())


def test_fingerprints_are_those_of_xxh3() -> None:
    """For every length that is hashed here; a longer text is left to Python."""
    kernel = load_kernel()
    assert kernel is not None

    def fingerprints(texts: list[str]) -> list[int] | None:
        column = pa.array(texts)
        _, offsets, data = column.buffers()
        made = (ctypes.c_uint64 * len(texts))()
        count = kernel.brief.kernel_fingerprints(data.address, offsets.address, len(texts), ctypes.addressof(made))
        return None if count < 0 else list(made)

    texts = [("0123456789abcdef" * 8)[:size] for size in range(1, 129)] + ["é", "é" * 64]
    assert fingerprints(texts) == [xxhash.xxh3_64_intdigest(text.encode()) for text in texts]
    assert fingerprints(["a", "x" * 129]) is None
    assert fingerprints(["a", ""]) is None


@pytest.mark.parametrize("size", [16, 64, 65, 200])
def test_pseudonyms_of_every_length(size: int) -> None:
    """Texts and keys around the edges of a block of SHA-256 give the pseudonyms that Python makes."""
    redaction = Redaction.from_paths([], ["name"], b"k" * size)
    texts = ["x" * length for length in range(200)]
    body = page(*[record(name=text) for text in texts])
    decoder = compiled_decoder(THINGS, redaction, schema.arrow_schema(redaction.redacted(THINGS)))
    assert decoder is not None
    names = decoder.decode([body], Drift()).batch.column("name").to_pylist()
    assert names == [redaction.pseudonym(text.encode()) for text in texts]


def test_threads_decode_side_by_side() -> None:
    """Nothing is shared that is written to."""
    bodies = [page(*[record(name=f"thread {number}", years=[number] * 9)] * 50) for number in range(4)]
    results: dict[int, set[str]] = {}

    def decode(number: int) -> None:
        decoder = compiled_decoder(THINGS, NO_REDACTION, schema.arrow_schema(THINGS))
        assert decoder is not None
        batches = [decoder.decode([bodies[number]] * 3, Drift()).batch for _ in range(40)]
        results[number] = {name for batch in batches for name in batch.column("name").to_pylist()}

    threads = [threading.Thread(target=decode, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: {f"thread {number}"} for number in range(4)}


@pytest.mark.parametrize("texts", [[], ["a", "", "bc"], ["é", "x"]])
def test_texts_of_a_column(texts: list[str]) -> None:
    """Slices of one text give the same as Arrow's own conversion, also of a part of a column."""
    column = pa.array(["before", *texts], pa.string())[1:]
    assert texts_of(column) == texts


def test_page_too_large_for_offsets_is_declined() -> None:
    """It is not looked at, whatever stands before it in the block; and it is no shortage of memory."""
    decoder = compiled_decoder(THINGS, NO_REDACTION, schema.arrow_schema(THINGS))
    assert decoder is not None
    too_large = bytes((1 << 28) - 1)
    assert decoder.decode([page(USUAL), too_large, page(USUAL)], Drift()).rows_per_page == [1]
    assert decoder.decode([too_large], Drift()).rows_per_page == []
    assert scan_page(too_large) is None


def node(kind: str, name: str, *children: bytes, flags: int = 0) -> bytes:
    """A node of a description, as the kernel reads it."""
    sizes = len(name.encode()).to_bytes(2, "little") + len(children).to_bytes(2, "little")
    return kind.encode() + bytes([flags]) + sizes + name.encode() + b"".join(children)


PSEUDONYM, UNDESCRIBED = 1, 4
ID, TYPE, TEXT = node("s", "id"), node("s", "type"), node("s", "text")


def of_attributes(*members: bytes) -> bytes:
    return node("{", "", ID, TYPE, node("{", "attributes", *members))


SOUND = of_attributes(TEXT)
NESTED = functools.reduce(lambda inner, _: node("l", "", inner), range(64), TEXT)
UNSOUND = {
    "nothing": b"",
    "cut short": SOUND[:-1],
    "more behind it": SOUND + b"s",
    "no object": ID,
    "no attributes": node("{", "", ID, TYPE),
    "another type of id": node("{", "", node("i", "id"), TYPE, node("{", "attributes")),
    "attributes in a list": node("{", "", ID, TYPE, node("l", "attributes", TEXT)),
    "an id without a column": node("{", "", node("x", "id"), TYPE, node("{", "attributes")),
    "an unknown kind": of_attributes(node("?", "a")),
    "a kind of zero": of_attributes(node("\0", "a")),
    "a string with members": of_attributes(node("s", "a", TEXT)),
    "a list of two": of_attributes(node("l", "a", TEXT, TEXT)),
    "a list of nothing": of_attributes(node("l", "a")),
    "a list of what is dropped": of_attributes(node("l", "a", node("x", ""))),
    "a column behind others": of_attributes(node("x", "a"), TEXT),
    "a pseudonym in a column of numbers": of_attributes(node("i", "a", flags=PSEUDONYM)),
    "a zero byte in a name": of_attributes(node("s", "a\0b")),
    "a quote in a name": of_attributes(node("s", 'a"')),
    "a backslash in a name": of_attributes(node("s", "a\\n")),
    "a name that is no UTF-8": SOUND.replace(b"text", b"te\xed\xa0"),
    "nested too deeply": of_attributes(NESTED),
    "too many members": of_attributes(*[TEXT] * 257),
    "too many nodes": node("{", "", ID, TYPE, *[node("{", "a", *[node("{", "b", *[TEXT] * 256)] * 200)]),
}


def takes_description(description: bytes) -> bool:
    kernel = load_kernel()
    assert kernel is not None
    made = kernel.brief.kernel_schema(description, len(description), b"secret", 6)
    kernel.brief.kernel_schema_free(made)
    return bool(made)


@pytest.mark.parametrize("description", UNSOUND.values(), ids=UNSOUND.keys())
def test_unsound_descriptions_are_refused(description: bytes) -> None:
    """Only what the decoder can keep the promises of Arrow for becomes a schema."""
    assert not takes_description(description)


def test_sound_descriptions_are_taken() -> None:
    """Those that the others differ from."""
    ruled = [node("x", "gone"), node("s", "hidden", flags=UNDESCRIBED | PSEUDONYM)]
    assert takes_description(SOUND)
    assert takes_description(node("{", "", ID, TYPE, node("{", "attributes", TEXT, *ruled), *ruled))
    assert not any(takes_description(SOUND[:size]) for size in range(len(SOUND)))


# A name that cannot stand in JSON as it is, and more members than there is room for.
ODD_DESCRIPTIONS = [
    endpoint({'quo"ted': Kind.STRING}),
    endpoint({f"field_{number}": Kind.STRING for number in range(300)}),
]


@pytest.mark.parametrize("described", ODD_DESCRIPTIONS, ids=["a quote in a name", "too many fields"])
def test_odd_descriptions_are_left_to_the_exact_way(described: Endpoint) -> None:
    """A name that cannot stand in JSON as it is, and more members than there is room for."""
    assert compiled_decoder(described, NO_REDACTION, schema.arrow_schema(described)) is None
    assert Decoder(described, columns=True, lines=None).decode([page(USUAL)]).rows_per_page == [1]
