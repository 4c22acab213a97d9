"""Text from outside: files that people wrote with any editor or shell, and text that is not safe to show as it is."""

from __future__ import annotations

import codecs

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode_text(content: bytes) -> str:
    r"""Decode UTF-8, or the UTF-16 that a byte order mark announces, as Windows PowerShell writes it.

    Args:
        content: The whole file.

    Returns:
        The text without the byte order mark.

    Raises:
        UnicodeDecodeError: The content is not text. Its message quotes bytes of it.

    >>> decode_text(b"\xef\xbb\xbfcaf\xc3\xa9")
    'café'
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode("utf-8")


def toml_problem(error: Exception) -> str:
    """Say what is wrong with a file from which no TOML could be read.

    Args:
        error: What reading it, `decode_text` or the parser raised: OSError, ValueError or RecursionError.

    Returns:
        The end of a sentence about the file: `is not TOML: ...`. Only the parser's own message is quoted, since that of
        a decoder holds bytes of the file.
    """
    import tomllib  # help needs none of it

    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"is not TOML: {error}" if isinstance(error, tomllib.TOMLDecodeError) else "is not TOML"


def printable(text: str) -> str:
    r"""Escape every character that is not shown as itself, so that the text is safe on a terminal or in a message.

    Escaped are control characters, line and paragraph separators, bidirectional and other invisible format
    characters, spaces other than U+0020, lone surrogates, and code points that are private or unassigned.
    Backslashes are left alone, so that escaping twice changes nothing. The escapes are those of TOML and JSON strings.

    Args:
        text: Any text, such as a name or a message of a service.

    Returns:
        One line of printable characters.

    >>> printable("a\u202eb")
    'a\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(ord(character)) for character in text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things in words, with separators between thousands.

    Args:
        number: How many there are.
        noun: One of them.
        plural: Several of them, if that is not the noun with an s.

    >>> counted(1, "page"), counted(1138, "page"), counted(0, "retry", "retries")
    ('1 page', '1,138 pages', '0 retries')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def times_text(number: int) -> str:
    """How often something happened: `once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
