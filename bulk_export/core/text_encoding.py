"""Texts that people write with any editor or shell: with a byte order mark, or in the UTF-16 of Windows PowerShell."""

from __future__ import annotations

import codecs

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode_text(content: bytes) -> str:
    """Decode UTF-8, or what a byte order mark at the beginning says instead; the mark is no part of the text.

    Raises:
        UnicodeDecodeError: The content is no text. Its message quotes bytes of it.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode("utf-8")
