"""What a service repeats of the token, and passwords in URLs, are not printed."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.masking import without_password, without_passwords

SECRET = "canary-5A1f/9+x=Zq"
TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60)
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda token: token,
    "percent": lambda token: quote(token, safe=""),
    "every byte as percent": lambda token: "".join(f"%{byte:02x}" for byte in token.encode()),
    "percent twice": lambda token: quote("".join(f"%{byte:02X}" for byte in token.encode()), safe=""),
    "JSON": lambda token: json.dumps(token)[1:-1].replace("/", "\\/"),
    "JSON escapes": lambda token: "".join(f"\\u{ord(character):04x}" for character in token),
    "HTML": lambda token: "".join(f"&#x{ord(character):x};" for character in token),
    "decimal HTML": lambda token: "".join(f"&#{ord(character)};" for character in token),
    "hexadecimal": lambda token: token.encode().hex(),
    "capital hexadecimal": lambda token: token.encode().hex().upper(),
    "base64": lambda token: base64.b64encode(token.encode()).decode(),
    "base64 for URLs": lambda token: base64.urlsafe_b64encode(token.encode()).decode().rstrip("="),
    "base64 with a user": lambda token: base64.b64encode(f"user:{token}".encode()).decode(),
    "base64 of a header": lambda token: base64.b64encode(f"Bearer {token}".encode()).decode(),
    "base64 in a URL": lambda token: quote(base64.b64encode(f"me:{token}".encode()), safe=""),
    "base64 in lines": lambda token: "\n".join(textwrap.wrap(base64.b64encode(token.encode()).decode(), 11)),
    "hexadecimal in pairs": lambda token: token.encode().hex(":"),
    "spaced": " ".join,
    "lower case": str.lower,
    "upper case": str.upper,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=6, deadline=None)
@given(token=TOKENS)
def test_a_token_is_masked_in_every_encoding(encoding: str, token: str) -> None:
    echoed = ENCODINGS[encoding](token)
    masked = Token(token).mask(f"We do not know <{echoed}>, sorry")
    rest = masked.removeprefix("We do not know <").removesuffix(">, sorry").replace("[token]", "")
    # In base64 there is what stood before the token, and a digit at each end with bits of both.
    assert len(rest) <= (15 if "base64" in encoding else 0)
    assert "[token]" in masked


@given(text=st.text(max_size=80))
def test_other_text_is_left_alone(text: str) -> None:
    """A text that does not repeat the token is left alone."""
    assert Token("Zz9!Zz9!Zz9!").mask(text) == text


@pytest.mark.parametrize("length", range(8, len(SECRET) + 1))
def test_a_token_that_is_cut_off_is_masked(length: int) -> None:
    assert Token(SECRET).mask(f"unknown: {SECRET[:length]}") == "unknown: [token]"


def test_short_token_is_masked_as_a_word() -> None:
    """A very short token is masked as a complete word only."""
    assert Token("t").mask("the t is not right") == "the [token] is not right"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:12#secret@h/0", "redis://h/0"),
        ("redis://:se/cret?@h:6379/0", "redis://h:6379/0"),
        ("rediss://user:a@b@h/0", "rediss://h/0"),
        ("sqlite://user:secret@/file", "sqlite:///file"),
        ("http://user:secret@[bad", "http://[bad"),
        ("http://user:secret%40proxy:3128", "http://proxy:3128"),
        ("https://h/spec.yaml?key=secret", "https://h/spec.yaml?…"),
        ("user:secret@h", "h"),
        ("redis:/user:secret@h", "h"),
        ("https://example.org/api", "https://example.org/api"),
        ("https://h/\u202etxt", "https://h/\\u202etxt"),
    ],
)
def test_url_is_shown_without_password(url: str, shown: str) -> None:
    """A URL is shown without anything that may be a password."""
    assert without_password(url) == shown


@pytest.mark.parametrize("url", ["redis://user:12#sekret@h", "redis:///x?password=sekret", "redis://u:sek ret@h:1"])
def test_misplaced_secret_is_masked(url: str) -> None:
    """A value that was typed in the wrong place is quoted without a password."""
    said = without_passwords(f"Got unexpected extra argument(s) ({url})")
    assert "sek" not in said
    assert said.startswith("Got unexpected extra argument(s) (redis://")
    assert said.endswith(")")
    assert without_passwords("Is it this? Or that?") == "Is it this? Or that?"
