"""The values that modules pass to each other: descriptions of services, and names of pages.

This module imports nothing of the project.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Literal


class Kind(enum.Enum):
    """The types a field may be declared with, but for lists and objects.

    ANY is declared for what may be of several types, or for an object whose members nobody knows: such values have no
    column.
    """

    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TIMESTAMP = "timestamp"
    DATE = "date"
    ANY = "any"


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

    def scaled(self, fraction: float) -> Limit:
        """Return `fraction` of the limit in the same period, rounded down, at least one request.

        >>> Limit(1000, 300.0).scaled(0.5)
        Limit(requests=500, period=300.0)
        """
        # The fraction may fall short of a decimal by a rounding error.
        return Limit(max(1, math.floor(self.requests * fraction + 1e-9)), self.period)


# What to do with records that are not as described: let them be, stop, or give new attributes columns.
LAX, STRICT, INFER = SCHEMA_MODES = ("lax", "strict", "infer")
# Stands for a limit that a service does not have.
NO_LIMIT = Limit(999_999_999, 60.0)


@dataclass(frozen=True, slots=True)
class Paging:
    """How a page is asked for.

    `number` is the parameter for the number of the page (style `pages`, the first one being `first`) or for the
    position of its first record (style `offset`); `size` the one for the number of records, empty where there is none.
    With style `none`
    neither is sent: one request gives everything. `filter` holds `{name}`. `largest` is the most records that the
    service gives at once, None where nobody knows. Unless `first_is_known` and `style_is_known`, `first` and whether
    `number` counts pages or records are guesses, and are found out with the first requests.
    """

    style: Literal["pages", "offset", "none"] = "pages"
    number: str = "page[page]"
    size: str = "page[per_page]"
    first: int = 1
    filter: str = "filter[{name}]"
    sort: str = "sort"
    largest: int | None = 3000
    first_is_known: bool = True
    style_is_known: bool = True


@dataclass(frozen=True, slots=True)
class RecordShape:
    """Where things are: `at` leads to the list of records in a body, the others from a record to its parts.

    An empty `at` means that the body is the list. Without an `id` or a `type`, records have none. Empty `attributes`
    stand beside the id. `id_type` is STRING or INTEGER. `identity` holds the paths, from the record, of the values that
    together identify it where the id alone does not; it is empty where the id identifies the record.
    """

    at: tuple[str, ...] = ("data",)
    id: tuple[str, ...] = ("id",)
    type: tuple[str, ...] | None = ("type",)
    attributes: tuple[str, ...] = ("attributes",)
    id_type: Kind = Kind.STRING
    identity: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Authorization:
    """The header that carries the token, after `scheme` and a space where there is one.

    A `scheme` that holds `{token}` is the whole value, as `Token token="{token}"`.
    """

    header: str = "Authorization"
    scheme: str = "Bearer"

    def value(self, token: str) -> str:
        """What the header says."""
        if "{token}" in self.scheme:
            return self.scheme.replace("{token}", token)
        return f"{self.scheme} {token}".lstrip()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One list endpoint of a service.

    `since` is the filter that selects by time of change, where there is one. `sort` is the value of the
    `sort` parameter that makes the order total, or None where the endpoint takes no such parameter;
    `order` names the attributes (and `id`) the rows are then ordered by. `order_is_total` says whether
    that order leaves no ties, so that a record stands on exactly one page of unchanging data.
    `sorts` are the values of `sort` that a user may choose; `filter_types` says what filters take, by name, and
    `filter_values` lists the words that some take.
    `requires` names the filters without which the service answers with an error or with nothing.
    Bodies are JSON, or CSV: then one has everything.
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
    paging: Paging = Paging()
    shape: RecordShape = RecordShape()
    format: Literal["json", "csv"] = "json"
    sorts: tuple[str, ...] = ()
    filter_types: tuple[tuple[str, str], ...] = ()
    requires: tuple[str, ...] = ()
    filter_values: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One version of one service: its endpoints, limits and page sizes. None is a limit or size nobody knows.

    `successor` is the name of the service that took its place, where one did.
    `left_out` names lists that the service offers and the description lacks, each with the reason. `spec_path` is
    where the service publishes its OpenAPI file; `{version}` stands for the version.
    """

    name: str
    version: str
    title: str
    endpoints: tuple[Endpoint, ...]
    environments: tuple[tuple[str, str], ...]
    service_limit: Limit | None
    ip_limit: Limit | None
    default_page_size: int
    largest_page_size: int | None
    auth: Authorization = Authorization()
    successor: str | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    spec_path: str = "/api/docs/{version}/swagger.yaml"

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self.endpoints)


def description_digest(endpoints: Sequence[Endpoint]) -> str:
    """What tells one description of some endpoints from another: 16 hexadecimal digits.

    It is made of canonical JSON without the values that are defaults, so that it stays the same when classes are
    renamed or get members that a description does not use.
    """
    text = json.dumps([_canonical(endpoint) for endpoint in endpoints], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: object) -> object:
    if is_dataclass(value):
        return {
            member.name: _canonical(content)
            for member in fields(value)
            if (content := getattr(value, member.name)) != member.default or member.default is MISSING
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    return value


@dataclass(frozen=True, slots=True, order=True)
class PageKey:
    """Which page: `page` counts from 1 within a `sweep` (0 is the first) over an endpoint."""

    endpoint: str
    sweep: int
    page: int
