"""Characters that change what a reader sees are shown as escapes, and numbers in words."""

from __future__ import annotations

import io
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.text import counted, printable, times_text
from bulk_export.progress.console import Console

DECEIVING = [
    *map(chr, [*range(0x20), *range(0x7F, 0xA0), 0xA0, 0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF]),
    *map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xE0041, 0xD800]),
]


@pytest.mark.parametrize("character", DECEIVING, ids=lambda character: f"{ord(character):04x}")
def test_invisible_characters_are_escaped(character: str) -> None:
    """Controls, separators and invisible characters are escaped."""
    shown = printable(f"a{character}b")
    assert character not in shown
    assert shown == (
        "a" + (f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}") + "b"
    )


@pytest.mark.parametrize("text", ["", "plain", "Zoë", "שלום", "日本語", "😀", "C:\\new"])
def test_printable_text_is_left_alone(text: str) -> None:
    """Text that is printable is left alone."""
    assert printable(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\\')))
def test_escaped_text_is_valid_toml(text: str) -> None:
    """An escaped text is one line, and reads back in TOML."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert tomllib.loads(f'text = "{shown}"') == {"text": text}


def test_console_lines_are_printable() -> None:
    """Lines of the console have printable characters only."""
    stream = io.StringIO()
    Console(stream).line("the service says \u202egnp.exe\x1b[2J\u2028next", level="warning")
    assert stream.getvalue() == "warning: the service says \\u202egnp.exe\\u001b[2J\\u2028next\n"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 retries, 0 times"),
        (1, "1 retry, once"),
        (2, "2 retries, twice"),
        (1234, "1,234 retries, 1,234 times"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    """One thing is singular, and thousands are separated."""
    assert f"{counted(number, 'retry', 'retries')}, {times_text(number)}" == words
    assert counted(number, "page").endswith("page" if number == 1 else " pages")
