"""The values that modules pass to each other: the description of a service, and the key of a page.

This module imports nothing of the project.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

_Folded = TypeVar("_Folded")


class Kind(enum.Enum):
    """The types of a field, except lists and objects.

    ANY is for values of several types, and for objects whose members are not known. Such a field has no column: its
    values go to `_extra`.
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
    """A JSON array whose elements all have one type."""

    item: FieldType


@dataclass(frozen=True, slots=True)
class Struct:
    """A JSON object whose members are known."""

    fields: tuple[Field, ...]


FieldType = Kind | ListOf | Struct


@dataclass(frozen=True, slots=True)
class Field:
    """A named and typed attribute of a record. Every field is nullable."""

    name: str
    type: FieldType


def fold_type(
    declared: FieldType,
    *,
    scalar: Callable[[Kind], _Folded],
    list_of: Callable[[_Folded], _Folded],
    struct: Callable[[Sequence[tuple[str, _Folded]]], _Folded],
) -> _Folded:
    """Compute a value for a field type from the values for its parts, innermost first.

    Args:
        declared: The type to walk over.
        scalar: The value for a scalar type.
        list_of: The value for a list, given the value for its items.
        struct: The value for an object, given the names and values of its members in order.

    Example:
        >>> fold_type(ListOf(Kind.DATE), scalar=lambda kind: kind.value, list_of=lambda item: [item], struct=dict)
        ['date']
    """
    if isinstance(declared, Kind):
        return scalar(declared)
    if isinstance(declared, ListOf):
        return list_of(fold_type(declared.item, scalar=scalar, list_of=list_of, struct=struct))
    members = [
        (field.name, fold_type(field.type, scalar=scalar, list_of=list_of, struct=struct)) for field in declared.fields
    ]
    return struct(members)


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


# What an export does about records that differ from their description: accept them, stop, or add columns.
LAX, STRICT, INFER = SCHEMA_MODES = ("lax", "strict", "infer")
# Used where a service has no limit.
NO_LIMIT = Limit(999_999_999, 60.0)


@dataclass(frozen=True, slots=True)
class Paging:
    """The query parameters that select a page, and those that filter and sort.

    Attributes:
        style: What `number` counts: pages (`pages`) or records (`offset`). With `none` there are no pages: one request
            returns every record, and neither `number` nor `size` is sent.
        number: The parameter for the page number, or for the offset of the page's first record.
        size: The parameter for the number of records on a page; empty if the service alone decides it.
        first: The number of the first page, or the offset of the first record.
        filter: The name of a filter's parameter, with `{name}` in place of the filter's name.
        sort: The parameter for the sort order.
        largest: The most records that the service puts on a page; None if not known.
        first_is_known: False if `first` is a guess, to be checked by the first requests.
        style_is_known: False if it is a guess that `number` counts pages, to be checked by the first requests.
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
    """The paths, as names of members, to the records in a response body and to the parts of a record.

    Attributes:
        at: From the body to the list of records; empty if the body is the list.
        id: From a record to its id; empty if records have no id.
        type: From a record to its type; None if records have no type.
        attributes: From a record to its attributes; empty if they are members of the record itself.
        id_type: STRING or INTEGER.
        identity: From a record to each of the values that together identify it; empty if the id alone does.
    """

    at: tuple[str, ...] = ("data",)
    id: tuple[str, ...] = ("id",)
    type: tuple[str, ...] | None = ("type",)
    attributes: tuple[str, ...] = ("attributes",)
    id_type: Kind = Kind.STRING
    identity: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Authorization:
    """The request header that carries the token.

    Its value is `scheme`, a space and the token; the token alone if `scheme` is empty. A scheme that contains `{token}`
    is a template for the complete value, for example `Token token="{token}"`.
    """

    header: str = "Authorization"
    scheme: str = "Bearer"

    def value(self, token: str) -> str:
        """Return the value of the header for a token."""
        if "{token}" in self.scheme:
            return self.scheme.replace("{token}", token)
        return f"{self.scheme} {token}".lstrip()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One list endpoint of a service.

    Attributes:
        name: The name that users give, and the name of the output directory.
        path: The path below the base URL.
        record_type: The value of a record's type member.
        fields: The attributes of a record.
        filters: The names of the filters that the endpoint takes.
        since: The filter that selects records by the time of their last change; None if there is none.
        sort: The sort value to send with every request; None if the endpoint takes no sort parameter.
        order: The attributes (and `id`) that the records are then ordered by; empty if not known.
        order_is_total: Whether that order has no ties, so that each record of unchanging data is on exactly one page.
        paging: How pages are requested.
        shape: Where the records are in a response body.
        format: The format of response bodies. A `csv` body always holds every record.
        sorts: The sort values that a user may choose.
        filter_types: The type of each filter's value, by filter name.
        requires: The filters without which the service answers with an error or with no records.
        filter_values: The values that a filter accepts, by filter name, for filters that accept only certain values.
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
    """One version of a service, as described. Iterating over it yields its endpoints.

    Attributes:
        name: The name for `--service`.
        version: The version for `--api-version`.
        title: The name shown to people.
        endpoints: The list endpoints, in the order of the description.
        environments: Names for `--environment`, each with its base URL.
        service_limit: The limit for all requests with one token; None if not known.
        ip_limit: The limit for all requests from one IP address; None if not known.
        default_page_size: Records on a page if the request does not say how many.
        largest_page_size: The largest page of any endpoint; None if not known.
        auth: The header that carries the token.
        successor: The service that replaced this one; None if there is none.
        left_out: Lists that the service offers but that cannot be described: path and reason.
        spec_path: Path of the published OpenAPI file, with `{version}` in place of the version.
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


@dataclass(frozen=True, slots=True, order=True)
class PageKey:
    """Identifies a page: number `page` (from 1) of sweep number `sweep` (from 0) over an endpoint."""

    endpoint: str
    sweep: int
    page: int


def description_digest(endpoints: Sequence[Endpoint]) -> str:
    """Return 16 hexadecimal digits that differ between different descriptions of endpoints.

    Unfinished exports store the digest, and later versions of the program resume them. So it is made of canonical JSON
    whose keys and defaults are fixed below, whatever the classes and fields are called.
    """
    text = json.dumps([_stored_endpoint(endpoint) for endpoint in endpoints], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# What the JSON leaves out. A new field is added here with the value that it has in the descriptions that exist.
_STORED_PAGING_DEFAULTS: dict[str, Any] = {
    "style": "pages",
    "number": "page[page]",
    "size": "page[per_page]",
    "first": 1,
    "filter": "filter[{name}]",
    "sort": "sort",
    "largest": 3000,
    "first_is_known": True,
    "style_is_known": True,
}
_STORED_SHAPE_DEFAULTS: dict[str, Any] = {
    "at": ("data",),
    "id": ("id",),
    "type": ("type",),
    "attributes": ("attributes",),
    "id_type": "string",
    "identity": (),
}
_STORED_ENDPOINT_DEFAULTS: dict[str, Any] = {
    "paging": {},
    "shape": {},
    "format": "json",
    "sorts": (),
    "filter_types": (),
    "requires": (),
    "filter_values": (),
}


def _stored_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    paging, shape = endpoint.paging, endpoint.shape
    stored_paging = {
        "style": paging.style,
        "number": paging.number,
        "size": paging.size,
        "first": paging.first,
        "filter": paging.filter,
        "sort": paging.sort,
        "largest": paging.largest,
        "first_is_known": paging.first_is_known,
        "style_is_known": paging.style_is_known,
    }
    stored_shape = {
        "at": shape.at,
        "id": shape.id,
        "type": shape.type,
        "attributes": shape.attributes,
        "id_type": shape.id_type.value,
        "identity": shape.identity,
    }
    stored = {
        "name": endpoint.name,
        "path": endpoint.path,
        "record_type": endpoint.record_type,
        "fields": [_stored_field(field) for field in endpoint.fields],
        "filters": endpoint.filters,
        "since": endpoint.since,
        "sort": endpoint.sort,
        "order": endpoint.order,
        "order_is_total": endpoint.order_is_total,
        "paging": _without(_STORED_PAGING_DEFAULTS, stored_paging),
        "shape": _without(_STORED_SHAPE_DEFAULTS, stored_shape),
        "format": endpoint.format,
        "sorts": endpoint.sorts,
        "filter_types": endpoint.filter_types,
        "requires": endpoint.requires,
        "filter_values": endpoint.filter_values,
    }
    return _without(_STORED_ENDPOINT_DEFAULTS, stored)


def _stored_field(field: Field) -> dict[str, Any]:
    return {"name": field.name, "type": _stored_type(field.type)}


def _stored_type(declared: FieldType) -> Any:
    if isinstance(declared, ListOf):
        return {"item": _stored_type(declared.item)}
    if isinstance(declared, Struct):
        return {"fields": [_stored_field(field) for field in declared.fields]}
    return declared.value


def _without(defaults: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stored.items() if key not in defaults or value != defaults[key]}
