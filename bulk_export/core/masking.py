"""Remove secrets from messages: tokens that a service repeats, and passwords in URLs."""

from __future__ import annotations

import base64
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from bulk_export.core.text import printable

_MASK = "[token]"
# Any part of the token of this length is masked, too: a message may be cut anywhere.
_PART = 8
# A shorter token is masked as a complete word only, since its letters are part of ordinary words.
_SHORTEST = 4
# Escapes may be nested, as in the target of a redirect in a JSON string.
_DEPTH = 4
_ESCAPE = re.compile(
    r"%(?P<percent>[0-9a-f]{2})|\\u(?P<json>[0-9a-f]{4})|\\x(?P<hex>[0-9a-f]{2})|\\(?P<same>[\\/\"'])"
    r"|&#x0*(?P<entity_hex>[0-9a-f]{1,5});?|&#0*(?P<entity>\d{1,6});?|&(?P<name>amp|lt|gt|quot|apos);",
    re.IGNORECASE,
)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_TYPED_USER = re.compile(rf"({_SCHEME.pattern}).*@", re.IGNORECASE | re.DOTALL)
_TYPED_QUERY = re.compile(r"\?[^\s?()]+")
_AT = re.compile(r"@|%40")


class Masker:
    """Masks a secret in texts, however it is written there.

    It is found as it is; percent-encoded; with JSON, HTML or backslash escapes; in hexadecimal digits; in base64, at
    any offset; in upper or lower case; broken into lines or groups; and in parts.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._parts: dict[int, set[str]] = defaultdict(set)
        if len(secret) >= _SHORTEST:
            for form in map(str.lower, _forms(secret)):
                size = min(_PART, len(form))
                self._parts[size].update(form[start : start + size] for start in range(len(form) - size + 1))

    def mask(self, text: str) -> str:
        """Replace the secret and parts of it, in all of these forms, by `[token]`."""
        if len(self._secret) < _SHORTEST:
            word = re.compile(rf"(?<![^\W_]){re.escape(self._secret)}(?![^\W_])")
            return word.sub(_MASK, text)
        hidden = bytearray(len(text))
        shown, bounds = text, list(range(len(text) + 1))
        for _ in range(_DEPTH):
            self._mark(shown, bounds, hidden, bounds[1:])
            decoded, bounds = _decoded(shown, bounds)
            if decoded == shown:
                break
            shown = decoded
        # A secret that was broken into lines or groups is found in the text without white space.
        kept = [position for position, character in enumerate(text) if not character.isspace()]
        if len(self._secret) >= _PART and len(kept) < len(text):
            self._mark("".join(text[position] for position in kept), kept, hidden, [position + 1 for position in kept])
        return "".join(
            _MASK if secret else "".join(text[position] for position, _ in run)
            for secret, run in itertools.groupby(enumerate(hidden), key=lambda item: item[1])
        )

    def _mark(self, shown: str, begins: Sequence[int], hidden: bytearray, ends: Sequence[int]) -> None:
        lowered = "".join(character.lower() if character.isascii() else character for character in shown)
        for size, parts in self._parts.items():
            for start in range(len(lowered) - size + 1):
                if lowered[start : start + size] in parts:
                    first, end = begins[start], ends[start + size - 1]
                    hidden[first:end] = b"\1" * (end - first)


def without_password(url: str) -> str:
    """A URL to print, even one that does not parse: without user, password, query and fragment.

    Everything before the last `@` is removed.

    >>> without_password("https://user:secret@example.org/path?key=1")
    'https://example.org/path?…'
    """
    scheme = _SCHEME.match(url)
    ats = list(_AT.finditer(url))
    start = ats[-1].end() if ats else scheme.end() if scheme else 0
    rest, query, _ = url[start:].partition("?")
    rest, fragment, _ = rest.partition("#")
    return printable((scheme[0] if scheme else "") + rest + ("?…" if query else "") + ("#…" if fragment else ""))


def without_passwords(message: str) -> str:
    """A message that quotes user input, without anything in its URLs that may be a password, even one with spaces."""
    if not _SCHEME.search(message):
        return message
    return _TYPED_QUERY.sub("?…", _TYPED_USER.sub(r"\1", message))


def _forms(secret: str) -> Iterator[str]:
    content = secret.encode()
    yield secret
    yield content.hex()
    yield content.hex(":")
    for before in range(3):
        # The first and last digits also hold bits of the bytes around the secret, so they are left out.
        encoded = base64.b64encode(bytes(before) + content + bytes(-(before + len(content)) % 3)).decode()
        core = encoded[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
        yield from (form for form in {core, core.translate({43: "-", 47: "_"})} if len(form) >= _SHORTEST)


def _decoded(text: str, bounds: Sequence[int]) -> tuple[str, list[int]]:
    """Replace the escapes of a text once; also returns where each character of the result begins in the original."""
    characters: list[str] = []
    begins: list[int] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        characters.extend(text[end : escape.start()])
        begins.extend(bounds[end : escape.start()])
        characters.append(_character_of(escape))
        begins.append(bounds[escape.start()])
        end = escape.end()
    characters.extend(text[end:])
    begins.extend(bounds[end:])
    return "".join(characters), begins


def _character_of(escape: re.Match[str]) -> str:
    kind, digits = escape.lastgroup, escape[escape.lastgroup or 0]
    if kind == "same":
        return digits
    if kind == "name":
        return _NAMED[digits.lower()]
    return chr(int(digits, 10 if kind == "entity" else 16))
