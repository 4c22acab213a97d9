"""The values that modules pass to each other: descriptions of services, and names of pages.

This module imports nothing of the project.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass


class Kind(enum.Enum):
    """The scalar types a field may be declared with."""

    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TIMESTAMP = "timestamp"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A JSON array whose elements are declared with one type."""

    item: FieldType


@dataclass(frozen=True, slots=True)
class Struct:
    """A JSON object with declared members."""

    fields: tuple[Field, ...]


FieldType = Kind | ListOf | Struct


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed, always nullable attribute of a record."""

    name: str
    type: FieldType


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` requests in any `period` seconds."""

    requests: int
    period: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One list endpoint of a service.

    `since` is the filter that selects by time of change, where there is one. `sort` is the value of the
    `sort` parameter that makes the order total, or None where the endpoint takes no such parameter;
    `order` names the attributes (and `id`) the rows are then ordered by. `order_is_total` says whether
    that order leaves no ties, so that a record stands on exactly one page of unchanging data.
    """

    name: str
    path: str
    record_type: str
    fields: tuple[Field, ...]
    filters: tuple[str, ...]
    since: str | None
    sort: str | None
    order: tuple[str, ...]
    order_is_total: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One version of one service: its endpoints, limits and page sizes."""

    name: str
    version: str
    title: str
    endpoints: tuple[Endpoint, ...]
    environments: tuple[tuple[str, str], ...]
    service_limit: Limit
    ip_limit: Limit
    default_page_size: int
    largest_page_size: int

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self.endpoints)


@dataclass(frozen=True, slots=True, order=True)
class PageKey:
    """Which page: `page` counts from 1 within a `sweep` (0 is the first) over an endpoint."""

    endpoint: str
    sweep: int
    page: int
