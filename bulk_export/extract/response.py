"""What comes of one request: an answer, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """A response that arrived whole. `stored` is the body as sent, `body` the same inflated.

    `is_framed` is False where only the end of the connection told that the body is whole. `message` is what the
    service said about itself where `status` is not 200. It `is_certain` where it is the first on its connection, so
    that it cannot be the answer to an earlier request, and `is_echo` where the same connection showed the same body
    before, for something else that was asked for.
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


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """No whole response. `sent` is False only where nothing can have reached the service.

    `final` says that trying again would only repeat it, and `advice` what to do then.
    """

    reason: str
    sent: bool = True
    final: bool = False
    advice: str = ""
