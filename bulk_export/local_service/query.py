"""What a request asks for, and the answers to those that ask wrongly."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus

from bulk_export.model import Endpoint, Service

_PARAMETER = re.compile(r"filter\[([^\]]*)\]")


class BadQuery(Exception):
    """A request that is answered with an error: its status, title and detail."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Query:
    """A page of an endpoint. `sort` holds attribute names, each with whether it descends."""

    page: int
    page_size: int
    sort: tuple[tuple[str, bool], ...]
    since: float | None
    filters: tuple[tuple[str, str], ...]


def parse_query(service: Service, endpoint: Endpoint, parameters: Iterable[tuple[str, str]]) -> Query:
    """Read the decoded parameters of a request. Raises BadQuery."""
    page, page_size = 1, service.default_page_size
    sort: tuple[tuple[str, bool], ...] = ()
    since: float | None = None
    filters = []
    for name, value in parameters:
        if name == "page[page]":
            page = _whole(value)
        elif name == "page[per_page]":
            page_size = min(_whole(value), service.largest_page_size or _whole(value))
        elif name == "sort" and endpoint.sort is not None:
            sort = tuple((part.lstrip("-+ "), part.startswith("-")) for part in value.split(",") if part.strip())
        elif found := _PARAMETER.fullmatch(name):
            key = found[1]
            if key not in endpoint.filters:
                raise BadQuery(400, "Unpermitted parameters", f"The filter '#/{key}' is not known.")
            # The service decodes the value once more, so that a plus sign becomes a space.
            again = unquote_plus(value)
            if key == endpoint.since:
                since = _instant(again)
            else:
                filters.append((key, _checked(key, again)))
    return Query(page, page_size, sort, since, tuple(filters))


def _whole(text: str) -> int:
    number = int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else 0
    if number < 1:
        raise BadQuery(
            400, "Bad request", "The '#/page[page]' and '#/page[per_page]' parameter values must be positive"
        )
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
