"""Lines of redacted records by the kernel: the same bytes as by `Redactor.record`, or none."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.kernel_library import load_kernel
from bulk_export.core.model import RecordShape
from bulk_export.services.catalogue import load_service
from bulk_export.services.local.records import RecordFactory
from bulk_export.transform.decode.json_lines import compact
from bulk_export.transform.decode.redactor import Redactor, redact_records
from bulk_export.transform.decode.scanned_page import ScannedIds, ScannedRecords, scan_page
from bulk_export.transform.redaction import Redaction
from tests.support.described import FIELDS, page, record, spaced
from tests.support.json_values import Pairs, Raw, records
from tests.support.mutation import mutated

pytestmark = pytest.mark.skipif(load_kernel() is None, reason="the kernel is not built, or not wanted")

KEY = b"a key of the length that is asked for"
REDACTORS = [
    Redactor(Redaction.from_paths(["name", "enrolments.left.date"], ["id", "years", "enrolments.email", "links"], KEY)),
    Redactor(Redaction.from_paths(["enrolments", "score", "age"], ["type", "new", "updated_at", "aliases"], KEY)),
    Redactor(Redaction.from_paths(list(FIELDS), [])),
    # As in a service that has other names for the parts of a record, and its attributes beside them.
    Redactor(
        Redaction.from_paths(["name", "new.deep"], ["id"], KEY),
        RecordShape(id=("ref", "id"), type=None, attributes=()),
    ),
]
USUAL = record(
    name="Ann",
    paid=True,
    age=-3,
    score=Raw("1.50e2"),
    years=[1, 2],
    aliases=["x", None, "", ["é"]],
    new={"deep": 1, "text": 'a\n"é', "list": [{}, []]},
    enrolments=[{"email": "e", "left": {"reason": "r", "date": "2024"}}, None, {"left": {"date": 1}}],
)


def redacted(redactor: Redactor, body: bytes) -> bytes | None:
    """What the kernel makes of a page; it is compared, and None if it declines."""
    scanned = scan_page(body)
    if scanned is None or not scanned.is_compact:
        return None
    lines = redactor.lines(scanned)
    if lines is not None:
        assert lines == b"".join(redactor.record(text) + b"\n" for text in scanned)
    return lines


@pytest.fixture(scope="module", params=range(len(REDACTORS)))
def redactor(request: pytest.FixtureRequest) -> Redactor:
    return REDACTORS[request.param]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=st.lists(records(FIELDS), max_size=3), number=st.sampled_from(range(len(REDACTORS))))
def test_drawn_records_agree(drawn: list[Any], number: int) -> None:
    """Records with values of every type, described or not, repeated and odd, are redacted alike or declined."""
    redacted(REDACTORS[number], page(*drawn))


def test_mutated_pages_agree(redactor: Redactor) -> None:
    """A few changed bytes never make the two disagree."""
    chance = random.Random(16)
    body = page(USUAL, {"ref": {"id": 1}, "name": {"a": 'x\\"'}, "new": {"deep": "\u00e9"}}, USUAL)
    taken = sum(redacted(redactor, mutated(chance, body)) is not None for _ in range(400))
    assert taken > 20


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(8))
def test_many_mutated_pages_agree(redactor: Redactor, seed: int) -> None:
    """The same with a hundred thousand pages."""
    chance = random.Random(seed)
    body = page(USUAL, {"ref": {"id": 1}, "name": {"a": 'x\\"'}, "new": {"deep": "\u00e9"}}, USUAL)
    for _ in range(12_500):
        redacted(redactor, mutated(chance, body))


@pytest.mark.parametrize("service", ["npq", "ecf", "ect"])
def test_pages_of_the_built_in_services_are_taken(service: str) -> None:
    """The first two attributes dropped, the next two and the id replaced: none of their pages is declined."""
    for described in load_service(service):
        names = [field.name for field in described.fields]
        one = Redactor(Redaction.from_paths(names[:2], ["id", *names[2:4]], KEY), described.shape)
        factory = RecordFactory(described, 0, people=8, applications=8)
        made = (factory.record(n, 0, factory.created_at(n), factory.updated_at(n)) for n in range(8))
        assert redacted(one, ('{"data":[' + ",".join(made) + "]}").encode()) is not None


MEMBERS = [("a", 1), ("b", "2"), ("c", None), ("d", [3])]


@pytest.mark.parametrize("dropped", range(1, 16))
def test_commas_go_with_what_is_dropped(dropped: int) -> None:
    """The first members, the last, some between, or all."""
    names = [name for number, (name, _) in enumerate(MEMBERS) if dropped >> number & 1]
    one = Redactor(Redaction.from_paths(names, []))
    assert redacted(one, page(record(), {"attributes": [dict(MEMBERS), {}]}, dict(MEMBERS))) is not None


VALUES = [
    *("", "x" * 300, 'quo"te', "back\\slash", "\n\t\x00\x7f", "é\U0001f600", "\u2028", True, False, None, 0, [], {}),
    *(Raw("-0"), Raw("1e400"), Raw("12" * 50), Raw("1.0"), {"a": [{"b": "\n"}], "é": None}, [None, ["x"], [[2]]]),
    Pairs([("a", 1), ("a", Raw("1.10"))]),
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_of_every_type_get_pseudonyms(value: Any) -> None:
    """Those that Python makes, for texts however they are escaped, digits as they were sent, and whole objects."""
    one = Redactor(Redaction.from_paths([], ["name", "enrolments.email"], KEY))
    body = page(record(name=value, enrolments=[{"email": value}, [{"email": value}]]), record(name=value, other=value))
    assert redacted(one, body) is not None
    assert redacted(one, body.replace("é".encode(), rb"\u00e9").replace(b"x", rb"\u0078")) is not None


DECLINED = [
    page(record(name=Raw(r'"\ud800"'))),
    page(record(other=Raw(r'["\udc00"]'))),
    page(record(name=Raw(r'"\ud83d\u0041"'))),
    page(record()).replace(b'"age":', b'"day":1,"age":'),
    page(record()).replace(b'"age"', rb'"\u0061ge"'),
    page(record(new={f"key {number}": number for number in range(300)})),
]


@pytest.mark.parametrize("body", DECLINED, ids=range(len(DECLINED)))
def test_what_may_be_written_anew_is_declined(body: bytes) -> None:
    """Half of a surrogate pair anywhere, a repeated key, a key with an escape, and more members than are remembered."""
    one = Redactor(Redaction.from_paths(["new.key 1", "paid"], ["name"], KEY))
    assert scan_page(body) is not None
    assert redacted(one, body) is None


def test_repeated_key_is_found_where_the_keys_before_were_others() -> None:
    """The second object has the second key of the first twice, which the first one has behind it."""
    one = Redactor(Redaction.from_paths(["gone"], []))
    assert (
        redacted(one, page({"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2, "b": 3}, {"b": 1}, {"b": 1, "a": 2})) is not None
    )
    assert redacted(one, page({"a": 1, "b": 2, "c": 3}, Pairs([("a", 1), ("c", 2), ("c", 3)]))) is None


def test_page_with_white_space_is_made_compact_first(redactor: Redactor) -> None:
    """The kernel declines it as it is; its records are redacted as those of other pages are."""
    body = spaced(page(USUAL, record(name="é"), {}))
    scanned = scan_page(body)
    assert isinstance(scanned, ScannedRecords)
    assert redactor.lines(scanned) is None
    texts = compact(body, scanned)
    assert list(redact_records(texts, redactor)) == list(map(redactor.record, texts))
    # And those that it declines then as well.
    texts = [*texts, b'{"name":"\\ud800"}']
    assert list(redact_records(texts, redactor)) == list(map(redactor.record, texts))


def test_pseudonyms_of_ids() -> None:
    """Those of plain ids come from the kernel, and are the same as the others."""
    redaction = Redaction.from_paths([], ["id"], KEY)
    texts = ["a", "é", "x" * 128]
    scanned = scan_page(page(*[record() | {"id": Raw(f'"{text}"')} for text in texts]))
    assert scanned is not None
    assert isinstance(scanned.ids, ScannedIds)
    expected = [redaction.pseudonym(text.encode()) for text in texts]
    assert Redactor(redaction).pseudonyms(scanned.ids) == expected
    assert Redactor(redaction).pseudonyms([*texts, None, ""]) == [*expected, None, ""]


def test_rules_with_odd_names_are_left_to_python() -> None:
    """A name that cannot stand in JSON as it is."""
    scanned = scan_page(page(record(**{'quo"ted': 1})))
    assert isinstance(scanned, ScannedRecords)
    assert Redactor(Redaction.from_paths(['quo"ted'], [])).lines(scanned) is None
