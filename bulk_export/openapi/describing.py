"""An OpenAPI document to the description of a service, in the form that `catalogue` reads."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from bulk_export.errors import UsageError
from bulk_export.openapi.access import read_auth, read_servers
from bulk_export.openapi.names import free, named, slug
from bulk_export.openapi.parameters import Paging, Query, changed_since, read_query
from bulk_export.openapi.records import Shape, find_records, read_content, read_shape
from bulk_export.openapi.schemas import Schemas


@dataclass(frozen=True, slots=True)
class Described:
    """A description as a document, and what a person should know of what could not be described."""

    document: Mapping[str, Any]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    """One list endpoint as found."""

    path: str
    version: str
    name: str
    format: str
    query: Query
    shape: Shape


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
    prefix, environments = read_servers(spec, address)
    remarks: dict[str, None] = {}
    listings = list(_listings(schemas, spec, prefix, identifiers or {}, remarks))
    if not listings:
        raise UsageError(
            f"{source} has no list endpoint: no GET without path parameters that answers with an array of objects.",
            next_step="; ".join(remarks) or "Describe the service by hand.",
        )
    common = _common(listings)
    title = str(info.get("title") or "").strip()
    versions: dict[str, dict[str, Any]] = {}
    as_json = {(one.version, one.name) for one in listings if one.format == "json"}
    for listing in listings:
        endpoints = versions.setdefault(listing.version, {})
        # `things.csv` is `things`, unless that is there as JSON.
        plain = listing.name.removesuffix("-csv") if listing.format == "csv" else listing.name
        name = listing.name if (listing.version, plain) in as_json else plain
        endpoints[free(name, endpoints)] = _endpoint(listing, common)
    versions = dict(sorted(versions.items(), key=lambda item: _numbers(item[0])))
    document: dict[str, Any] = {
        "name": slug(service or title) or "service",
        "title": title or service or "Service",
        "default_version": list(versions)[-1],
    }
    if environments:
        document["environments"] = environments
    if _is_family(common.paging):
        document["limits"] = {"service": "1000/5m", "ip": "300/5m"}
    document["pages"] = _pages(common.paging, common.template, common.sort)
    document["records"] = _records(common.shape)
    document["auth"] = read_auth(schemas, spec, remarks)
    document["versions"] = versions
    # TOML puts tables behind values; so do fields then, whether the description was written down or not.
    return Described(tomllib.loads(tomli_w.dumps(document)), (*remarks, *schemas.remarks))


@dataclass(frozen=True, slots=True)
class _Common:
    """What most endpoints have, said once for the service."""

    paging: Paging
    template: str
    sort: str
    shape: Shape


def _listings(
    schemas: Schemas, spec: Mapping[str, Any], prefix: str, identifiers: Mapping[str, str], remarks: dict[str, None]
) -> Iterator[_Listing]:
    paths = spec.get("paths")
    for path, entry in paths.items() if isinstance(paths, Mapping) else ():
        item = schemas.resolved(entry)
        operation = item.get("get")
        if not isinstance(path, str) or "{" in path or not isinstance(operation, Mapping):
            continue
        if not path.isprintable() or set(path) & set(" ?#"):
            remarks[f"GET {path!r} is left out: that is no path"] = None
            continue
        where, full = f"GET {path}", prefix + (path if path.startswith("/") else f"/{path}")
        found = read_content(schemas, operation)
        if found is None:
            continue
        form, schema = found
        declared = schemas.type_of(schema, where)
        place = find_records(declared, inside=form == "csv")
        if place is None:
            continue
        shape = read_shape(schemas, schema, place, identifiers.get(full), form, where)
        if shape is None:
            remarks[f"{where} is left out: its records have no id"] = None
            continue
        listed = [one for origin in (item, operation) for one in _sequence(origin.get("parameters"))]
        query = read_query(schemas, listed, where)
        if query.paging.style == "cursor":
            remarks[f"{where} is left out: its pages are asked for neither by number and size nor by offset"] = None
            continue
        if query.paging.style == "none" and form == "json":
            remarks[f"{where} takes no page parameters: one request must give all"] = None
        if query.unused:
            remarks[f"{where}: {', '.join(query.unused)} cannot be given as filters"] = None
        version, name = named(path, schemas.resolved(spec.get("info")).get("version"))
        yield _Listing(full, version, name, form, query, shape)


def _endpoint(listing: _Listing, common: _Common) -> dict[str, Any]:
    query, shape = listing.query, listing.shape
    fields = shape.fields
    sort, order, total = _order(query, fields, family=_is_family(query.paging))
    entry: dict[str, Any] = {"path": listing.path, "record_type": shape.record_type or listing.name}
    if listing.format != "json":
        entry["format"] = listing.format
    entry["filters"] = list(query.filters)
    if query.filters:
        entry["filter_types"] = dict(query.filters)
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
    overriding = {key: value for key, value in own.items() if said.get(key) != value}
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


def _order(query: Query, fields: Mapping[str, Any], *, family: bool) -> tuple[str | None, list[str], bool]:
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


def _is_family(paging: Paging) -> bool:
    return (paging.number, paging.size) == ("page[page]", "page[per_page]")


def _common(listings: Sequence[_Listing]) -> _Common:
    paged = [one for one in listings if one.query.paging.style != "none"] or list(listings)
    filtered = [one for one in listings if one.query.filters] or list(listings)
    sorted_ones = [one for one in listings if one.query.sorts] or list(listings)
    shaped = [one for one in listings if one.format == "json"] or list(listings)
    places = Counter(
        (one.shape.at, one.shape.id, one.shape.id_type, one.shape.type, one.shape.attributes) for one in shaped
    )
    usual = places.most_common(1)[0][0]
    return _Common(
        paging=Counter(one.query.paging for one in paged).most_common(1)[0][0],
        template=Counter(one.query.template for one in filtered).most_common(1)[0][0],
        sort=Counter(one.query.sort for one in sorted_ones).most_common(1)[0][0],
        shape=Shape(*usual, fields={}, record_type=""),
    )


def _pages(paging: Paging, template: str, sort: str) -> dict[str, Any]:
    if paging.style == "none":
        return {"style": "none", "default": 100, "filter": template, "sort": sort}
    pages: dict[str, Any] = {
        "style": paging.style,
        "number": paging.number,
        "size": paging.size,
        "first": paging.first,
        "default": paging.default or min(100, paging.largest or 100),
    }
    if paging.largest is not None:
        pages["largest"] = max(paging.largest, pages["default"])
    return pages | {"filter": template, "sort": sort}


def _records(shape: Shape) -> dict[str, Any]:
    return {
        "at": list(shape.at),
        "id": [shape.id],
        "id_type": shape.id_type,
        "type": list(shape.type),
        "attributes": list(shape.attributes),
    }


def _numbers(version: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d{1,9}", version)]


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
