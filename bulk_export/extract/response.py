"""The result of one request: a response, or the reason why none arrived; and the message in the body of an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from yarl import URL

from bulk_export.core.text import printable

_SHOWN = 300
# More than is shown in the end, since masking and joining lines shorten it.
_READ = 8 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A response that arrived completely.

    Attributes:
        status: The HTTP status.
        body: The body, inflated.
        stored: The body as sent, in its `encoding` ("gzip" or "identity").
        is_framed: False if only the end of the connection showed that the body is complete.
        message: The message of the service if `status` is not 200: masked, on one line, without control characters.
        retry_after: The Retry-After header, unparsed.
        date: The Date header, unparsed.
        is_certain: Whether it is the first on its connection, so that it cannot belong to an earlier request.
        is_echo: Whether the same connection brought the same body before, for another target.
        headers: All headers of a 200, in which names have any case.
    """

    status: int
    body: bytes
    stored: bytes
    encoding: str
    is_framed: bool = True
    message: str = ""
    retry_after: str | None = None
    date: str | None = None
    is_certain: bool = True
    is_echo: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """No complete response arrived, or one that is not the page.

    Attributes:
        reason: Why, as a clause; without secrets and record contents.
        sent: False only if nothing can have reached the service.
        final: Whether another attempt would fail the same way.
        advice: What the user can do about a `final` one.
    """

    reason: str
    sent: bool = True
    final: bool = False
    advice: str = ""


def explanation(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return the message of an error: the address of a redirect, the JSON errors, or the start of a plain text.

    Nothing is masked or escaped yet: see `one_line`.
    """
    if 300 <= status < 400:
        return _redirect(headers.get("Location", ""))
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return body[:_READ].decode("utf-8", "replace") if media_type == "text/plain" else ""
    return _json_errors(document)[:_READ]


def one_line(text: str) -> str:
    """Return the start of a text on one line, with every character escaped that does not show as itself."""
    return printable(" ".join(text.split()))[:_SHOWN]


def _redirect(location: str) -> str:
    try:
        host = URL(location).host
    except ValueError:
        return "a redirect to what is not an address"
    return f"a redirect to {host}" if host else "a redirect"


def _json_errors(document: object) -> str:
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
