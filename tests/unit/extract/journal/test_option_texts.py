"""How two runs differ, in options as they are typed."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.extract.journal.option_texts import change_text, differing_parameters


@pytest.mark.parametrize(
    ("name", "stored", "current", "text"),
    [
        ("page_size", 300, 3000, "--page-size 300, now 3000"),
        ("sample", None, 10, "without --limit 10, now with it"),
        ("sort", "-created_at", None, "--sort -created_at, now without it"),
        ("consistent", False, True, "without --consistent, now with it"),
        ("csv_bom", True, None, "--csv-bom, now without it"),
        ("filters", {"cohort": "2023"}, {}, "--filter cohort=2023, now without it"),
        ("filters", {"a": "1"}, {"a": "1", "b": "2 3"}, "--filter a=1, now --filter a=1 --filter 'b=2 3'"),
        ("drop_columns", [], ["email", "a.b"], "without --drop-column email --drop-column a.b, now with it"),
        ("formats", {"parquet": "zstd"}, {"csv": "none"}, None),
        ("endpoints", ["statements"], ["a", "b"], "the endpoints statements, now a, b"),
        ("base_url", "local", "https://x", "--environment local, now --base-url https://x"),
        ("gone", "keep", "drop", "--gone keep, now drop"),
        ("description", "12ab", "34cd", "the service is described in another way"),
        ("pseudonym_key", "12ab", "34cd", "--pseudonym-key-file holds another key"),
        ("unheard-of", 1, 2, "unheard-of 1, now 2"),
        ("consistent", None, False, "consistent is known to one of the two versions of this tool only"),
    ],
)
def test_change(name: str, stored: Any, current: Any, text: str | None) -> None:
    """Both values are named, with the option that gives them."""
    expected = text or "--format parquet --compression zstd, now --format csv --compression none"
    assert change_text(name, stored, current) == expected


def test_secrets_and_odd_values() -> None:
    """Passwords are masked, keys not shown, and whatever a file holds is cut and escaped."""
    shown = change_text("base_url", "https://user:hunter2@host", "https://host")
    assert "hunter2" not in shown
    for name in ("pseudonym_key", "key", "token"):
        assert "abcd" not in change_text(name, "abcd", "abcde")
    for value in ({"a": {"b": [1]}}, [[1], None], 7, "x\x1b[31m" * 900, {"y" * 5000: 1}):
        for name in ("filters", "endpoints", "formats", "page_size", "drop_columns", "unheard-of"):
            text = change_text(name, value, "other")
            assert "\x1b" not in text
            assert len(text) < 800


def test_what_differs() -> None:
    """A parameter that is missing counts as not given; other endpoints are described otherwise."""
    assert differing_parameters({"description": 1}, {"description": 2}) == ["description"]
    assert differing_parameters({"description": 1, "endpoints": []}, {"description": 2}) == ["endpoints"]
    assert differing_parameters({"a": 1, "b": None}, {"a": 2, "c": None}) == ["a"]
