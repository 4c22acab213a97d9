"""Where a built-in description differs from the published one on purpose, and why.

What a service sends counts, not what it publishes. A change that is listed here is no news.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bulk_export.core.model import Service
from bulk_export.services.openapi.diff import Change


@dataclass(frozen=True, slots=True)
class Deviation:
    """A difference that is meant; `endpoint` and `version` may hold wildcards.

    `published` is empty where a field is not published at all.
    """

    service: str
    version: str
    endpoint: str
    name: str
    published: str
    reason: str


_INSTANT = "published without a format; instants are sent"
_DAY = "published without a format; calendar days are sent"
_YEARS = "published as a list of nobody knows what; years are sent"
DEVIATIONS = (
    Deviation("npq", "*", "participant-declarations", "has_passed", "string", "a boolean is sent"),
    Deviation("npq", "*", "participant-declarations", "declaration_date", "string", _INSTANT),
    Deviation("npq", "*", "participants-npq-outcomes", "completion_date", "string", "midnight of a day is sent"),
    Deviation("npq", "v3", "statements", "cut_off_date", "string", _DAY),
    Deviation("npq", "v3", "statements", "payment_date", "string", _DAY),
    Deviation("npq", "v3", "delivery-partners", "cohort[]", "string", "integers are sent"),
    Deviation("ecf", "v3", "statements", "cut_off_date", "string", _DAY),
    Deviation("ecf", "v3", "statements", "payment_date", "string", _DAY),
    Deviation("ect", "v3", "participants", "participant_id_changes[].changed_at", "string", _INSTANT),
    Deviation("ect", "v3", "participants-transfers", "transfers[].created_at", "date", "instants are sent"),
    Deviation("ect", "v3", "schools", "cohort", "years", "one year is heeded"),
    Deviation("ect", "v3", "statements", "cut_off_date", "string", _DAY),
    Deviation("ect", "v3", "statements", "payment_date", "string", _DAY),
    Deviation("ect", "v3", "delivery-partners", "cohort[]", "", _YEARS),
    Deviation("ect", "v3", "delivery-partners", "cohort[]", "any", _YEARS),
)


def unexpected(described: Service, changes: Iterable[Change]) -> list[Change]:
    """The changes that are no deviations of this service."""
    return [change for change in changes if not any(_covers(one, described, change) for one in DEVIATIONS)]


def _covers(deviation: Deviation, described: Service, change: Change) -> bool:
    return (
        (deviation.service, deviation.name, deviation.published) == (described.name, change.name, change.published)
        and change.difference == ("changed" if deviation.published else "removed")
        and change.what in ("field", "filter")
        and fnmatchcase(described.version, deviation.version)
        and fnmatchcase(change.endpoint, deviation.endpoint)
    )
