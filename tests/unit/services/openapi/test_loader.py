"""An OpenAPI file is parsed, or refused with the reason: never a crash, and always within bounds of time and memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulk_export.errors import UsageError
from bulk_export.services.description import read_description
from bulk_export.services.openapi import describe, parse_spec

HEAD = "openapi: 3.0.1\n"


def refusal(content: str | bytes) -> str:
    with pytest.raises(UsageError) as refused:
        parse_spec(content.encode() if isinstance(content, str) else content, "spec.yaml")
    return refused.value.what


def test_json_and_yaml_are_equivalent() -> None:
    document = {"openapi": "3.1.0", "paths": {"/a": {"get": {"responses": {"200": {"description": "ok"}}}}}}
    for text in (json.dumps(document), yaml.safe_dump(document), "\ufeff" + json.dumps(document)):
        assert parse_spec(text.encode(), "spec") == document


def test_yaml_values_have_the_types_of_json() -> None:
    """Dates, `no` and numbers with leading zeros stay text."""
    spec = parse_spec(b"openapi: 3.0.1\n200: no\nday: 2021-05-31\non: true\nnothing: ~\nversion: 3.10\nn: 07", "spec")
    assert spec == {
        "openapi": "3.0.1",
        "200": "no",
        "day": "2021-05-31",
        "on": True,
        "nothing": None,
        "version": 3.10,
        "n": "07",
    }


def test_anchors_and_merge_keys() -> None:
    """Anchors and merge keys of YAML are resolved; a mapping's own keys win."""
    spec = parse_spec(
        (HEAD + "a: &a {x: 1, y: 2}\nb: &b {y: 3}\nc: {<<: [*b, *a], z: 4}\nd: {x: 5, <<: *a}\ne: *a\n").encode(),
        "spec",
    )
    assert (spec["c"], spec["d"], spec["e"]) == ({"x": 1, "y": 3, "z": 4}, {"x": 5, "y": 2}, {"x": 1, "y": 2})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an OpenAPI file"),
        (b"[]", "not an OpenAPI file"),
        (b"openapi: 2.0\n", "a version of OpenAPI"),
        (b"swagger: '2.0'\n", "not an OpenAPI file"),
        (b"openapi: 3.2.0\n", "a version of OpenAPI"),
        (b"\xff{}", "neither UTF-8 nor UTF-16 text (byte 0)"),
        (b"openapi: 3.0.1\n\tpaths: {", "neither JSON nor YAML at line 2"),
        (b"openapi: 3.0.1\n? [a]\n: 1\n", "neither JSON nor YAML at line 2"),
        (b'{"openapi": "3.0.1", "info": {"title": "\\ud800"}}', "neither JSON nor YAML"),
        (b"openapi: 3.0.1\nx: !!python/object:os.system {}", "neither JSON nor YAML"),
        (b"openapi: 3.0.1\nx: {<<: 1}", "neither JSON nor YAML"),
        (b"openapi: 3.0.1\nn: " + b"9" * 5_000, "neither JSON nor YAML"),
    ],
)
def test_other_files_are_refused_with_the_reason(content: bytes, message: str) -> None:
    assert message in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        HEAD + "x: " + "[" * 5_000,
        HEAD + "x: " + "[" * 300 + "]" * 300,
        HEAD + "x:\n  " + "- " * 300 + "1\n",
        '{"openapi": "3.0.1", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"openapi": "3.0.1", "x": ' + '{"x":' * 100_000,
    ],
    ids=["flow, open", "flow", "block", "JSON", "JSON, open"],
)
def test_endless_nesting_is_refused(content: str) -> None:
    assert "spec.yaml" in refusal(content)


def test_alias_bomb_takes_little_memory() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 40)]
    content = "\n".join([HEAD + "l0: &l0 [boom]", *levels, "paths: {/a: {get: {responses: *l39}}}"]).encode()
    tracemalloc.start()
    spec = parse_spec(content, "spec.yaml")
    with pytest.raises(UsageError):
        describe(spec, "spec.yaml")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_merge_key_bomb_is_refused() -> None:
    wide = ", ".join(f"k{n}: {n}" for n in range(300))
    levels = [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 30)}]}}" for n in range(1, 30)]
    assert "neither JSON nor YAML at line" in refusal("\n".join([f"{HEAD}l0: &l0 {{{wide}}}", *levels]))


def test_mapping_that_merges_itself_is_refused() -> None:
    assert "spec.yaml" in refusal(HEAD + "a: &a\n  <<: *a\n")


def test_too_many_aliases_or_bytes_are_refused() -> None:
    assert "too many aliases" in refusal(HEAD + "a: &a 1\nb: [" + "*a, " * 10_001 + "1]\n")
    assert "larger than" in refusal(b" " * (16 * 1024 * 1024 + 1))


WORDS = """
paths: /a: get: responses: '200': content: application/json: schema: type: array items: properties: data: id:
string $ref: '#/paths' '#/x/y' allOf: {} [] null &a *a <<: parameters: name: page in: query
"""


PIECES = st.sampled_from([*WORDS.split(), "- ", " ", "\n", "\n  ", "\n    ", "\n      "])


SCRAPS = st.lists(PIECES, max_size=60).map(lambda parts: (HEAD + "".join(parts)).encode())


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=200), SCRAPS))
@example(b"openapi: 3.0.1\npaths: &a {/a: *a}")
@example(b"openapi: 3.0.1\ninfo: &a {title: *a}\npaths: *a")
def test_any_bytes_are_described_or_refused(content: bytes) -> None:
    try:
        described = describe(parse_spec(content, "spec"), "spec")
    except UsageError:
        return
    read_description(described.document, None)
