"""What a service says of itself where it does not answer with a page: text from outside, to be quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from yarl import URL

from bulk_export.core.text import printable

_SHOWN = 300
# More than is shown: masking and joining lines make it shorter.
_READ = 8 * 1024


def explanation(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The service's own words: where a redirect leads, its JSON errors, or the start of a plain text.

    Nothing of it is masked or escaped yet.
    """
    if 300 <= status < 400:
        return _redirect(headers.get("Location", ""))
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return body[:_READ].decode("utf-8", "replace") if kind == "text/plain" else ""
    return _of_errors(document)[:_READ]


def one_line(text: str) -> str:
    """The start of a text on one line, with every character escaped that does not show as itself."""
    return printable(" ".join(text.split()))[:_SHOWN]


def _redirect(location: str) -> str:
    try:
        host = URL(location).host
    except ValueError:
        return "a redirect to what is not an address"
    return f"a redirect to {host}" if host else "a redirect"


def _of_errors(document: object) -> str:
    if not isinstance(document, Mapping):
        return ""
    errors = document.get("errors")
    if isinstance(errors, Sequence) and not isinstance(errors, str):
        return "; ".join(
            ": ".join(str(part) for part in (entry.get("title"), entry.get("detail")) if part)
            for entry in errors
            if isinstance(entry, Mapping)
        )
    return str(document.get("error", "") or document.get("message", ""))
