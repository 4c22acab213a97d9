"""Pages as the kernel scans them: their records, ids and fingerprints are those that Python finds."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.kernel_library import load_kernel
from bulk_export.transform.decode import Decoder, InvalidPage, content_of, split_page
from bulk_export.transform.decode.scanned_page import scan_page
from tests.support.described import THINGS, page, record, spaced
from tests.support.mutation import mutated

pytestmark = pytest.mark.skipif(load_kernel() is None, reason="the kernel is not built, or not wanted")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
RECORDS = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1),
        "type": st.sampled_from(["thing", "é", 1, None]),
        "attributes": st.dictionaries(st.sampled_from(["a", "id", "é", "data"]), VALUES, max_size=3),
    }
)


@settings(max_examples=40)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.booleans(), st.randoms())
def test_drawn_records_are_found(drawn: list[dict[str, Any]], ascii_only: bool, chance: random.Random) -> None:
    """Members in any order; an id that is not at hand leaves all of them to Python."""
    for one in drawn:
        members = list(one.items())
        chance.shuffle(members)
        one.clear()
        one.update(members)
    body = json.dumps({"data": drawn}, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    if scanned := scan_page(body):
        assert list(scanned) == split_page(body)
        assert scanned[-1] == list(scanned)[-1] == scanned[-2:][-1]
        assert scanned.lines() == b"".join(one + b"\n" for one in scanned)
        assert scanned.is_compact
        if scanned.ids is not None:
            assert list(scanned.ids) == [one["id"] for one in drawn]
            expected = [xxhash.xxh3_64_intdigest(one["id"].encode()) for one in drawn]
            assert list(memoryview(scanned.ids.fingerprints()).cast("Q")) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"id":"a"},]}',
        b'{"data":[{"id":"a"}],"data":[{"id":"a"}]}',
        b'{"data":[{"id":"a","attributes":{"a":"\xff"}}]}',
        b'{"data":[1]}',
        b'[{"id":"a"}]',
        b"",
        b'\xef\xbb\xbf{"data":[]}',
    ],
)
def test_other_bodies_are_declined(body: bytes) -> None:
    assert scan_page(body) is None


@pytest.mark.parametrize(
    "text", ['"id":1', '"id":""', '"id":null', '"a":1', '"id":"a","id":"a"', '"\\u0069d":"b","id":"a"', '"id":"\\n"']
)
def test_ids_that_are_not_at_hand_are_left_to_python(text: str) -> None:
    """No string, none, two of them, or one with an escape."""
    scanned = scan_page(b'{"data":[{' + text.encode() + b"}]}")
    assert scanned is not None
    assert scanned.ids is None


def test_pages_cut_short_are_declined() -> None:
    body = page(record(name="\u00e9", years=[1]))
    assert scan_page(body) is not None
    assert not any(scan_page(body[:length]) for length in range(len(body)))


def test_mutated_pages_agree() -> None:
    """A page that is scanned is a page, with the records and ids that Python finds."""
    chance = random.Random(3)
    bodies = [page(record(name="a"), record()), spaced(page(record(), record())), page(), page(*[record()] * 5)]
    found = 0
    for number in range(2_000):
        body = bodies[number % 4] if number < 8 else mutated(chance, chance.choice(bodies))
        scanned = scan_page(body)
        try:
            expected = split_page(body)
        except InvalidPage:
            assert scanned is None
            continue
        if scanned is None:
            continue
        found += 1
        assert list(scanned) == expected
        if scanned.ids is not None:
            ids = Decoder(THINGS, columns=False, lines=None).decode([body]).ids
            assert list(scanned.ids) == list(ids)
    assert found > 100


def test_content_depends_on_records_only() -> None:
    """Neither their order nor the way in which the page was split changes the content."""
    one, other = record(name="a"), record(name="b" * 100)
    first, second = scan_page(page(one, other)), scan_page(b'{"meta":1,"data" : ' + page(other, one)[8:])
    assert first is not None
    assert second is not None
    assert content_of(first) == content_of(second) == content_of(list(first))
    assert content_of(first) != content_of(list(first)[:1])
