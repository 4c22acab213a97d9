"""From an OpenAPI document to the description of a service, as a document that `description` reads."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import tomli_w

from bulk_export.errors import UsageError
from bulk_export.services.openapi.listings import ExcludedListing, Listing, find_listings
from bulk_export.services.openapi.naming import slug
from bulk_export.services.openapi.paging_parameters import PagingParameters
from bulk_export.services.openapi.query_parameters import OperationQuery, since_filter
from bulk_export.services.openapi.response_shape import ResponseShape
from bulk_export.services.openapi.security_schemes import read_auth
from bulk_export.services.openapi.servers import read_servers
from bulk_export.services.openapi.types import Schemas
from bulk_export.services.openapi.versions import group_by_version

_Value = TypeVar("_Value")
_MOST_REASONS = 5
_USUAL_PAGE_SIZE = 100
_LEAD_PROVIDER_LIMITS = {"service": "1000/5m", "ip": "300/5m"}


@dataclass(frozen=True, slots=True)
class GeneratedDescription:
    """A description made from an OpenAPI document.

    Attributes:
        document: The description, as `read_description` takes it.
        remarks: What was assumed, and what could not be described.
    """

    document: Mapping[str, Any]
    remarks: tuple[str, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The lists that could not be described, each with the reason."""
        lists = [entry for version in self.document.get("left_out", {}).values() for entry in version.items()]
        return tuple(f"{path} is left out: {reason}" for path, reason in dict.fromkeys(lists))


def describe(
    spec: Mapping[str, Any],
    source: str,
    *,
    service: str | None = None,
    address: str | None = None,
    identifiers: Mapping[str, str] | None = None,
) -> GeneratedDescription:
    """Generate the description of a service from its OpenAPI document.

    Args:
        spec: The document, as `parse_spec` returns it.
        source: What messages call the document.
        service: The name of the service; from the document's title if None.
        address: Where the document was fetched from, to resolve relative servers.
        identifiers: The members that identify the records of endpoints without an `id`, by path.

    Raises:
        UsageError: If there is no list that can be described, a reference leads nowhere, or a schema is too large.
    """
    schemas = Schemas.of(spec, source)
    info = schemas.resolve(spec.get("info"))
    remarks: dict[str, None] = {}
    prefix, environments = read_servers(spec, address, remarks)
    every_listing = list(find_listings(schemas, spec, prefix, identifiers or {}, remarks))
    listings = [listing for listing in every_listing if isinstance(listing, Listing)]
    if not listings:
        reasons = [
            f"{listing.path}: {listing.reason}" for listing in every_listing if isinstance(listing, ExcludedListing)
        ]
        raise UsageError(
            f"{source} has no list endpoint: no GET without path parameters that returns an array of objects.",
            next_step="; ".join([*reasons[:_MOST_REASONS], *remarks]) or "Describe the service by hand.",
        )
    usual = _usual_settings(listings)
    title = str(info.get("title") or "").strip()
    versions = group_by_version(every_listing, info.get("version"))
    excluded = {version.name: version.excluded for version in versions if version.excluded}
    document: dict[str, Any] = {
        "name": slug(service or title) or "service",
        "title": title or service or "Service",
        "default_version": versions[-1].name,
        **({"environments": environments} if environments else {}),
        **({"limits": _LEAD_PROVIDER_LIMITS} if usual.paging.is_lead_provider_style else {}),
        "pages": _pages_table(usual.paging, usual.filter_template, usual.sort_parameter),
        "records": _records_table(usual.shape),
        "auth": read_auth(schemas, spec, remarks),
        **({"left_out": excluded} if excluded else {}),
        "versions": {
            version.name: {name: _endpoint_table(listing, usual) for name, listing in version.listings.items()}
            for version in versions
        },
    }
    # In TOML, values come before tables: the order of fields is then the same whether the description is a file or not.
    return GeneratedDescription(tomllib.loads(tomli_w.dumps(document)), (*remarks, *schemas.remarks))


@dataclass(frozen=True, slots=True)
class _UsualSettings:
    """What most endpoints have in common. Endpoints repeat only what is different."""

    paging: PagingParameters
    filter_template: str
    sort_parameter: str
    shape: ResponseShape


def _usual_settings(listings: Sequence[Listing]) -> _UsualSettings:
    paged = [listing for listing in listings if listing.query.paging.style != "none"] or listings
    filtered = [listing for listing in listings if listing.query.filter_types] or listings
    sorted_ones = [listing for listing in listings if listing.query.sorts] or listings
    shaped = [listing for listing in listings if listing.format == "json"] or listings
    paging = _most_common([listing.query.paging for listing in paged])
    if any(listing.query.paging.largest != paging.largest for listing in paged):
        # A largest page that one endpoint states must not be assumed of those that state none.
        paging = replace(paging, largest=None)
    at, id_path, id_type, type_path, attributes = _most_common(
        [
            (listing.shape.at, listing.shape.id, listing.shape.id_type, listing.shape.type, listing.shape.attributes)
            for listing in shaped
        ]
    )
    return _UsualSettings(
        paging=paging,
        filter_template=_most_common([listing.query.filter_template for listing in filtered]),
        sort_parameter=_most_common([listing.query.sort_parameter for listing in sorted_ones]),
        shape=ResponseShape(at, id_path, id_type, type_path, attributes, fields={}, record_type=""),
    )


def _most_common(values: Sequence[_Value]) -> _Value:
    return Counter(values).most_common(1)[0][0]


def _endpoint_table(listing: Listing, usual: _UsualSettings) -> dict[str, Any]:
    query, shape = listing.query, listing.shape
    since = since_filter(query.filter_types)
    sort, order, is_total = _order(query, shape.fields)
    pages, records = _own_pages(query, usual), _own_records(listing, usual)
    return {
        "path": listing.path,
        "record_type": shape.record_type or listing.name.name,
        **({"format": listing.format} if listing.format != "json" else {}),
        "filters": list(query.filter_types),
        **({"filter_types": dict(query.filter_types)} if query.filter_types else {}),
        **(
            {"filter_values": {name: list(values) for name, values in query.filter_values.items()}}
            if query.filter_values
            else {}
        ),
        **({"requires": list(query.required_filters)} if query.required_filters else {}),
        **({"since": since} if since is not None else {}),
        **({"sort": sort} if sort is not None else {}),
        **({"sorts": list(query.sorts)} if query.sorts else {}),
        "order": order,
        "order_is_total": is_total,
        **({"pages": pages} if pages else {}),
        **({"records": records} if records else {}),
        "fields": dict(shape.fields),
    }


def _order(query: OperationQuery, fields: Mapping[str, Any]) -> tuple[str | None, list[str], bool]:
    """Return the sort to send, the attributes that records are then ordered by, and whether the order has no ties.

    The lead-provider services accept `created_at,id`, although they publish single attributes only. An endpoint that
    also publishes `name` may ignore the second key.
    """
    is_lead_provider = query.paging.is_lead_provider_style
    ascending = [sort for sort in query.sorts if not sort.startswith(("-", "+"))]
    if "id" in ascending:
        return "id", ["id"], True
    for key in ("created_at", "createdAt", "created"):
        if key in ascending:
            keys: list[str] = [key, "id"] if is_lead_provider else [key]
            return ",".join(keys), keys if key in fields else [], is_lead_provider and "name" not in ascending
    return None, [], False


def _own_pages(query: OperationQuery, usual: _UsualSettings) -> dict[str, Any]:
    """Return the `pages` table of an endpoint: what differs from the usual settings."""
    pages = _pages_table(query.paging, query.filter_template, query.sort_parameter)
    usual_pages = _pages_table(usual.paging, usual.filter_template, usual.sort_parameter)
    if query.paging.style == "none":
        pages = {"style": "none", "filter": query.filter_template}
    irrelevant = {"default"}  # the usual page size is one for the service
    if not query.filter_types:
        irrelevant.add("filter")
    if not query.sorts:
        irrelevant.add("sort")
    return {key: value for key, value in pages.items() if usual_pages.get(key) != value and key not in irrelevant}


def _own_records(listing: Listing, usual: _UsualSettings) -> dict[str, Any]:
    """Return the `records` table of an endpoint: what differs from the usual shape."""
    usual_records = _records_table(usual.shape)
    if listing.format == "csv":
        usual_records |= {"at": [], "type": [], "attributes": []}  # `description` gives every csv endpoint these
    return {key: value for key, value in _records_table(listing.shape).items() if usual_records[key] != value}


def _pages_table(paging: PagingParameters, filter_template: str, sort_parameter: str) -> dict[str, Any]:
    written = {"filter": filter_template, "sort": sort_parameter}
    if paging.style == "none":
        return {"style": "none", "default": _USUAL_PAGE_SIZE} | written
    default = paging.default or min(_USUAL_PAGE_SIZE, paging.largest or _USUAL_PAGE_SIZE)
    pages: dict[str, Any] = {
        "style": paging.style,
        "number": paging.number,
        "size": paging.size,
        "first": "unknown" if paging.first is None else paging.first,
        "default": default,
    }
    if paging.largest is not None and paging.largest >= default:
        pages["largest"] = paging.largest
    return pages | written


def _records_table(shape: ResponseShape) -> dict[str, Any]:
    return {
        "at": list(shape.at),
        "id": list(shape.id),
        "id_type": shape.id_type,
        "type": list(shape.type),
        "attributes": list(shape.attributes),
    }
