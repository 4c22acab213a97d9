"""Checked access to one table of a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bulk_export.errors import UsageError
from bulk_export.services.toml_table import Table, suggestion


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        (lambda table: table.string("key"), 3),
        (lambda table: table.optional_string("key"), 3),
        (lambda table: table.boolean("key", default=False), "yes"),
        (lambda table: table.integer("key", None, minimum=1), 0),
        (lambda table: table.integer("key", None, minimum=1), True),
        (lambda table: table.strings("key"), ["a", ""]),
        (lambda table: table.choice("key", ("a", "b"), "a"), "c"),
        (lambda table: table.table("key"), []),
    ],
)
def test_wrong_types_are_refused_with_the_path(read: Callable[[Table], Any], wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"pages\.key must be"):
        read(Table({"key": wrong}, "pages"))


def test_missing_keys_have_defaults_or_are_refused() -> None:
    table = Table({})
    assert (table.string("a", "b"), table.optional_string("a"), table.strings("a", ["b"])) == ("b", None, ("b",))
    assert (table.boolean("a", default=True), table.integer("a", 5, minimum=1)) == (True, 5)
    assert ("a" in table, table.table("a").at("b")) == (False, "a.b")
    with pytest.raises(UsageError, match="a is missing"):
        table.string("a")


def test_keys_that_were_never_read_are_refused() -> None:
    table = Table({"name": "x", "nmae": "y"})
    table.string("name")
    with pytest.raises(UsageError, match="nmae is not known") as refused:
        table.done()
    assert refused.value.next_step == "Did you mean name?"


def test_errors_of_a_parser_get_the_path() -> None:
    def parse(text: str) -> str:
        raise UsageError(f"{text} is wrong.", next_step="Correct it.")

    with pytest.raises(UsageError, match=r"limits\.service: x is wrong"):
        Table({"service": "x"}, "limits").parsed("service", parse)


def test_suggestion_is_empty_if_nothing_is_similar() -> None:
    assert (suggestion("colr", ["colour"]), suggestion("xyz", ["colour"])) == ("Did you mean colour?", "")
