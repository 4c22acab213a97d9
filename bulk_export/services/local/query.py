"""The query of a request to the local service, checked as the real service checks it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus

from bulk_export.core.model import Endpoint, Service

_EVERYTHING = 1 << 60


class BadQuery(Exception):
    """A request whose response is an error with a status, title and detail."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Query:
    """The records that a request selects.

    Attributes:
        first: The position of the first record, from 0.
        page_size: The number of records.
        sort: The attributes to sort by, each with whether it descends.
        since: The earliest time of change, in seconds since the epoch; None for any.
        filters: The other filters, by name.
    """

    first: int
    page_size: int
    sort: tuple[tuple[str, bool], ...]
    since: float | None
    filters: tuple[tuple[str, str], ...]


def parse_query(
    service: Service, endpoint: Endpoint, parameters: Iterable[tuple[str, str]], largest: int | None
) -> Query:
    """Parse the parameters of a request.

    Args:
        service: The service.
        endpoint: The endpoint that was requested.
        parameters: Names and decoded values.
        largest: The largest page; None for no bound.

    Raises:
        BadQuery: The service would answer with an error.
    """
    paging = endpoint.paging
    number, page_size = paging.first, service.default_page_size
    sort: tuple[tuple[str, bool], ...] = ()
    since: float | None = None
    filters = []
    for name, value in parameters:
        if name == paging.number and paging.style != "none":
            number = _integer(value, paging.number, least=paging.first)
        elif name == paging.size and paging.style != "none":
            page_size = _integer(value, paging.size, least=1)
        elif name == paging.sort and (endpoint.sort is not None or endpoint.sorts):
            sort = tuple((part.lstrip("-+ "), part.startswith("-")) for part in value.split(",") if part.strip())
        elif (key := _filter_name(paging.filter, name)) is not None:
            if key not in endpoint.filters:
                raise BadQuery(400, "Unpermitted parameters", f"The filter '#/{key}' is not known.")
            # The service decodes the value a second time, so that a plus sign becomes a space.
            decoded = unquote_plus(value)
            if key == endpoint.since:
                since = _instant(decoded)
            else:
                filters.append((key, _checked(key, decoded)))
    page_size = min(page_size, largest or page_size)
    position = number - paging.first
    match paging.style:
        case "pages":
            first = position * page_size
        case "offset":
            first = position
        case _:
            first, page_size = 0, _EVERYTHING
    return Query(first, page_size, sort, since, tuple(filters))


def _filter_name(template: str, parameter: str) -> str | None:
    """Return the filter that a parameter is for; None if it is not a filter."""
    before, _, after = template.partition("{name}")
    if len(parameter) <= len(before) + len(after) or not (parameter.startswith(before) and parameter.endswith(after)):
        return None
    return parameter[len(before) : len(parameter) - len(after)]


def _integer(text: str, parameter: str, *, least: int) -> int:
    number = int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else -1
    if number < least:
        raise BadQuery(400, "Bad request", f"The '#/{parameter}' parameter value must be at least {least}")
    return number


def _instant(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadQuery(400, "Bad request", "The filter '#/updated_since' must be a valid RCF3339 date")
    return moment.timestamp()


def _checked(key: str, text: str) -> str:
    values = text.split(",")
    if key == "cohort" and not all(re.fullmatch(r"\d{4}[a-z]?", value, re.ASCII) for value in values):
        raise BadQuery(422, "cohort", "The filter '#/cohort' must be a list of years")
    if key.endswith("participant_id"):
        try:
            for value in values:
                uuid.UUID(value)
        except ValueError:
            raise BadQuery(422, key, f"The filter '#/{key}' must be a list of UUIDs") from None
    return text
