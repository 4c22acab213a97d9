"""An OpenAPI document to the description of a service, in the form that `catalogue` reads."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tomli_w

from bulk_export.errors import UsageError
from bulk_export.services.openapi.listings import ExcludedListing, Listing, find_listings
from bulk_export.services.openapi.naming import slug
from bulk_export.services.openapi.query_parameters import FAMILY, OperationQuery, PagingParameters, changed_since
from bulk_export.services.openapi.response_shape import ResponseShape
from bulk_export.services.openapi.servers import read_auth, read_servers
from bulk_export.services.openapi.types import Schemas
from bulk_export.services.openapi.versions import versions_of

_MOST_REASONS = 5


@dataclass(frozen=True, slots=True)
class Described:
    """A description as a document, and what a person should know of what could not be described."""

    document: Mapping[str, Any]
    remarks: tuple[str, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The lists that could not be described, each with the reason."""
        lists = [entry for entries in self.document.get("left_out", {}).values() for entry in entries.items()]
        return tuple(f"{path} is left out: {reason}" for path, reason in dict.fromkeys(lists))


def describe(
    spec: Mapping[str, Any],
    source: str,
    *,
    service: str | None = None,
    address: str | None = None,
    identifiers: Mapping[str, str] | None = None,
) -> Described:
    """The description of the service that a spec is of.

    `source` is what messages call the spec, `service` the name to give it, `address` where it came from: relative
    servers are taken from there. `identifiers` names, by path, what identifies the records of an
    endpoint that have no `id`. Raises UsageError where nothing can be described, or references lead nowhere or too far.
    """
    schemas = Schemas(spec, source)
    info = schemas.resolved(spec.get("info"))
    remarks: dict[str, None] = {}
    prefix, environments = read_servers(spec, address, remarks)
    found = list(find_listings(schemas, spec, prefix, identifiers or {}, remarks))
    listings = [one for one in found if isinstance(one, Listing)]
    if not listings:
        reasons = [f"{one.path}: {one.reason}" for one in found if isinstance(one, ExcludedListing)]
        raise UsageError(
            f"{source} has no list endpoint: no GET without path parameters that answers with an array of objects.",
            next_step="; ".join([*reasons[:_MOST_REASONS], *remarks]) or "Describe the service by hand.",
        )
    common = _common(listings)
    title = str(info.get("title") or "").strip()
    versions = versions_of(found, info.get("version"))
    document: dict[str, Any] = {
        "name": slug(service or title) or "service",
        "title": title or service or "Service",
        "default_version": versions[-1].name,
    }
    if environments:
        document["environments"] = environments
    if _is_family(common.paging):
        document["limits"] = {"service": "1000/5m", "ip": "300/5m"}
    document["pages"] = _pages(common.paging, common.template, common.sort)
    document["records"] = _records(common.shape)
    document["auth"] = read_auth(schemas, spec, remarks)
    left_out = {version.name: version.left_out for version in versions if version.left_out}
    if left_out:
        document["left_out"] = left_out
    document["versions"] = {
        version.name: {name: _endpoint(one, common) for name, one in version.listings.items()} for version in versions
    }
    # TOML puts tables behind values; so do fields then, whether the description was written down or not.
    return Described(tomllib.loads(tomli_w.dumps(document)), (*remarks, *schemas.remarks))


@dataclass(frozen=True, slots=True)
class _Common:
    """What most endpoints have, said once for the service."""

    paging: PagingParameters
    template: str
    sort: str
    shape: ResponseShape


def _endpoint(listing: Listing, common: _Common) -> dict[str, Any]:
    query, shape = listing.query, listing.shape
    fields = shape.fields
    sort, order, total = _order(query, fields, family=_is_family(query.paging))
    entry: dict[str, Any] = {"path": listing.path, "record_type": shape.record_type or listing.named.name}
    if listing.format != "json":
        entry["format"] = listing.format
    entry["filters"] = list(query.filters)
    if query.filters:
        entry["filter_types"] = dict(query.filters)
    if query.values:
        entry["filter_values"] = {name: list(words) for name, words in query.values.items()}
    if query.required:
        entry["requires"] = list(query.required)
    since = changed_since(query.filters)
    if since is not None:
        entry["since"] = since
    if sort is not None:
        entry["sort"] = sort
    if query.sorts:
        entry["sorts"] = list(query.sorts)
    entry |= {"order": order, "order_is_total": total}
    own, said = _pages(query.paging, query.template, query.sort), _pages(common.paging, common.template, common.sort)
    if query.paging.style == "none":
        own = {"style": "none", "filter": query.template}
    # The usual size is that of the service.
    overriding = {key: value for key, value in own.items() if said.get(key) != value and key != "default"}
    if not query.filters:
        overriding.pop("filter", None)
    if not query.sorts:
        overriding.pop("sort", None)
    if overriding:
        entry["pages"] = overriding
    usual = _records(common.shape)
    if listing.format == "csv":
        usual |= {"at": [], "type": [], "attributes": []}  # rows stand alone
    different = {key: value for key, value in _records(shape).items() if usual[key] != value}
    if different:
        entry["records"] = different
    entry["fields"] = dict(fields)
    return entry


def _order(query: OperationQuery, fields: Mapping[str, Any], *, family: bool) -> tuple[str | None, list[str], bool]:
    """The sort to send, what rows are ordered by then, and whether that leaves no ties.

    Services of the lead-provider family take `created_at,id`, although they publish single attributes only;
    where a name is among those published, the tie-break may be ignored.
    """
    ascending = [word for word in query.sorts if not word.startswith(("-", "+"))]
    if "id" in ascending:
        return "id", ["id"], True
    for key in ("created_at", "createdAt", "created"):
        if key in ascending:
            parts: list[str] = [key, "id"] if family else [key]
            return ",".join(parts), parts if key in fields else [], family and "name" not in ascending
    return None, [], False


def _is_family(paging: PagingParameters) -> bool:
    return (paging.number, paging.size) == FAMILY


def _common(listings: Sequence[Listing]) -> _Common:
    paged = [one for one in listings if one.query.paging.style != "none"] or list(listings)
    filtered = [one for one in listings if one.query.filters] or list(listings)
    sorted_ones = [one for one in listings if one.query.sorts] or list(listings)
    shaped = [one for one in listings if one.format == "json"] or list(listings)
    places = Counter(
        (one.shape.at, one.shape.id, one.shape.id_type, one.shape.type, one.shape.attributes) for one in shaped
    )
    usual = places.most_common(1)[0][0]
    paging = Counter(one.query.paging for one in paged).most_common(1)[0][0]
    if any(one.query.paging.largest != paging.largest for one in paged):
        # What one endpoint states says nothing of those that state nothing.
        paging = replace(paging, largest=None)
    return _Common(
        paging=paging,
        template=Counter(one.query.template for one in filtered).most_common(1)[0][0],
        sort=Counter(one.query.sort for one in sorted_ones).most_common(1)[0][0],
        shape=ResponseShape(*usual, fields={}, record_type=""),
    )


def _pages(paging: PagingParameters, template: str, sort: str) -> dict[str, Any]:
    if paging.style == "none":
        return {"style": "none", "default": 100, "filter": template, "sort": sort}
    pages: dict[str, Any] = {
        "style": paging.style,
        "number": paging.number,
        "size": paging.size,
        "first": "unknown" if paging.first is None else paging.first,
        "default": paging.default or min(100, paging.largest or 100),
    }
    if paging.largest is not None and paging.largest >= pages["default"]:
        pages["largest"] = paging.largest
    return pages | {"filter": template, "sort": sort}


def _records(shape: ResponseShape) -> dict[str, Any]:
    return {
        "at": list(shape.at),
        "id": list(shape.id),
        "id_type": shape.id_type,
        "type": list(shape.type),
        "attributes": list(shape.attributes),
    }
