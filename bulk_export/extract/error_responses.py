"""What an answer that is no page says: that the request is refused, or when the service will be back."""

from __future__ import annotations

import time

from bulk_export.core.clock import announced_wait
from bulk_export.errors import ServiceRefused
from bulk_export.extract.response import Response

_NOT_FOUND = 404
_ADVICE = {
    400: "Check the filters and --updated-since.",
    401: "Check the token; with a valid one the same command goes on.",
    403: "Check that the token may read this service; with a valid one the same command goes on.",
    404: "Check --base-url, --service and --api-version.",
    407: "A proxy on the way asks for a user name and a password: check HTTPS_PROXY.",
    422: "Check the filters and --updated-since.",
}


def refusal(answer: Response, page: str, *, successor: str | None) -> ServiceRefused:
    """The error for an answer that no further request would change.

    `page` says in words what was asked for; `successor` names the service that took the place of this one, if any.
    """
    advice = _ADVICE.get(answer.status, "Check --base-url; redirects are never followed.")
    if answer.status == _NOT_FOUND and successor is not None:
        advice += f" Another service took the place of this one: --service {successor}."
    said = f": {answer.message}" if answer.message else ""
    return ServiceRefused(
        f"The service refused {page} with status {answer.status}{said}.",
        kept="Every page stored so far is kept.",
        next_step=advice,
    )


def announced(answer: Response) -> float | None:
    """In how many seconds the service says that it will be back, None where it does not say."""
    return announced_wait(answer.retry_after, date=answer.date, wall=time.time())
