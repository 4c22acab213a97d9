"""Text from outside, made safe to show on a terminal or in a message.

This module imports nothing of the project.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escape every character that does not show as itself, like `\u202e` for one that reverses the text after it.

    Escaped are control characters, line and paragraph separators, bidirectional and other invisible format
    characters, spaces but U+0020, lone surrogates, and code points that are private or unassigned.
    Backslashes are left alone, so that escaping twice changes nothing. The escapes are those of TOML and JSON strings.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(ord(character)) for character in text)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
