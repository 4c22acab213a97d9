"""From a parsed TOML description to a `model.Service`. Every key is checked; errors name its path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from bulk_export.core.model import (
    Authorization,
    Endpoint,
    Kind,
    Paging,
    RecordShape,
    Service,
)
from bulk_export.core.units import parse_limit
from bulk_export.errors import UsageError
from bulk_export.services.field_types import fields_from_table
from bulk_export.services.identity import as_columns, read_identity
from bulk_export.services.toml_table import Table, description_error, suggestion

_DEFAULT_PAGE_SIZE = 100
_STYLES = ("pages", "offset", "none")
_FORMATS = ("json", "csv")
FILTER_TYPES = ("string", "strings", "uuids", "years", "timestamp", "date", "integer", "boolean")
_UNKNOWN = "unknown"
# The names of endpoints become directories, and the name of the service the beginning of one.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?", re.ASCII)


def read_description(document: Mapping[str, Any], version: str | None) -> Service:
    """Read a service from a parsed description.

    All versions are checked, whichever is chosen.

    Args:
        document: The description, as parsed from TOML.
        version: The version to read; the default version if None.

    Raises:
        UsageError: If a key is missing, wrong or not known, or the version is not described.
    """
    top = Table(document)
    name = _name(top.string("name"), "name")
    versions = top.table("versions")
    known = [known_version for known_version, _ in versions.tables()]
    chosen_version = _chosen_version(top, name, known, version)
    pages, records, limits = top.table("pages"), top.table("records"), top.table("limits")
    default_size = pages.integer("default", _DEFAULT_PAGE_SIZE, minimum=1)
    paging, shape = _paging(pages, Paging(largest=None)), _shape(records, RecordShape())
    endpoints = {
        known_version: tuple(_endpoint(endpoint, entry, paging, shape) for endpoint, entry in table.tables())
        for known_version, table in versions.tables()
    }
    service = Service(
        name=name,
        version=chosen_version,
        title=top.string("title", name),
        endpoints=endpoints[chosen_version],
        environments=_environments(top.table("environments")),
        service_limit=limits.parsed("service", parse_limit),
        ip_limit=limits.parsed("ip", parse_limit),
        default_page_size=default_size or _DEFAULT_PAGE_SIZE,
        largest_page_size=_largest_page_size(endpoints[chosen_version], paging),
        auth=_authorization(top.table("auth")),
        successor=top.optional_string("successor"),
        left_out=_left_out(top.table("left_out"), known, chosen_version),
        spec_path=_spec_path(top),
    )
    for table in (limits, pages, records, top):
        table.done()
    return service


def _chosen_version(top: Table, service: str, known: Sequence[str], version: str | None) -> str:
    if not known:
        raise description_error("versions", "has no version")
    default = top.string("default_version", known[0] if len(known) == 1 else None)
    if default not in known:
        raise description_error("default_version", f"must be one of: {', '.join(known)}")
    if version and version not in known:
        raise UsageError(
            f"Service {service} has no version {version!r} here.",
            next_step=f"Choose --api-version from: {', '.join(known)}.",
        )
    return version or default


def _largest_page_size(endpoints: Sequence[Endpoint], default: Paging) -> int | None:
    """Return the largest page of any endpoint; None if it is not known for all of them."""
    sizes = {endpoint.paging.largest for endpoint in endpoints if endpoint.paging.style != "none"} or {default.largest}
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None


def _left_out(table: Table, versions: Sequence[str], chosen: str) -> tuple[tuple[str, str], ...]:
    """Return the lists that the chosen version leaves out. Those of other versions are only checked."""
    left_out = {}
    for version, lists in table.tables():
        if version not in versions:
            raise description_error(lists.path, "is not one of the versions", suggestion(version, versions))
        left_out[version] = tuple((path, lists.string(path)) for path, _ in lists.value_items())
    return left_out.get(chosen, ())


def _spec_path(table: Table) -> str:
    path = table.string("spec", "/api/docs/{version}/swagger.yaml")
    if not _is_path(path):
        raise description_error(table.at("spec"), "must be a path like /api/docs/{version}/swagger.yaml")
    return path


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isprintable() and not set(text) & set(" ?#")


def _environments(table: Table) -> tuple[tuple[str, str], ...]:
    return tuple((name, table.string(name)) for name, _ in table.value_items())


def _authorization(table: Table) -> Authorization:
    default = Authorization()
    header = table.string("header", default.header)
    if not header or not header.isascii() or not header.replace("-", "").isalnum():
        raise description_error(table.at("header"), "must be the name of an HTTP header")
    scheme = table.string("scheme", default.scheme)
    if not scheme.isascii() or not scheme.isprintable():
        raise description_error(table.at("scheme"), "must be printable ASCII")
    table.done()
    return Authorization(header, scheme)


def _paging(table: Table, default: Paging) -> Paging:
    stated_style = table.choice("style", (*_STYLES, _UNKNOWN), default.style if default.style_is_known else _UNKNOWN)
    style = cast("Literal['pages', 'offset', 'none']", "pages" if stated_style == _UNKNOWN else stated_style)
    first, first_is_known = default.first, default.first_is_known
    if style == "offset" and default.style != "offset":
        first, first_is_known = 0, True  # offsets count from 0 unless stated otherwise
    if table.value("first", None) == _UNKNOWN:
        if style == "offset":
            raise description_error(table.at("first"), "must be a whole number if pages are requested by offset")
        first, first_is_known = 1, False
    elif "first" in table:
        first, first_is_known = table.integer("first", first, minimum=0) or 0, True
    largest = default.largest
    if table.value("largest", None) == _UNKNOWN:
        largest = None
    elif "largest" in table:
        largest = table.integer("largest", None, minimum=1)
    paging = Paging(
        style=style,
        number=table.string("number", default.number),
        size=table.string("size", default.size),
        first=first,
        filter=table.string("filter", default.filter),
        sort=table.string("sort", default.sort),
        largest=largest,
        first_is_known=first_is_known,
        style_is_known=stated_style != _UNKNOWN,
    )
    if "{name}" not in paging.filter or paging.filter.replace("{name}", "").count("{"):
        raise description_error(table.at("filter"), "must contain {name} in place of the name of a filter")
    if style == "pages" and paging.first > 1:
        raise description_error(table.at("first"), "must be 0 or 1")
    if paging.number == paging.size:
        raise description_error(table.at("size"), "must not be the same parameter as number")
    return paging


def _shape(table: Table, default: RecordShape, *, is_row: bool = False) -> RecordShape:
    attributes = table.strings("attributes", default.attributes)
    identifier, identity = read_identity(table, default, attributes, is_row=is_row)
    given_type = table.value("type", list(default.type) if default.type else None)
    shape = RecordShape(
        at=table.strings("at", default.at),
        id=identifier,
        type=None if given_type in (None, []) else table.strings("type", default.type or ()),
        attributes=attributes,
        id_type=Kind(table.choice("id_type", ("string", "integer"), default.id_type.value)),
        identity=identity,
    )
    if not shape.attributes and "type" not in table and default.attributes:
        # Records without a member for their attributes hardly ever have one for a type.
        return replace(shape, type=None, attributes=())
    if shape.attributes and shape.attributes in (shape.id, shape.type):
        raise description_error(table.at("attributes"), "must not be the same member as id or type")
    return shape


def _endpoint(name: str, table: Table, paging: Paging, shape: RecordShape) -> Endpoint:
    body_format = cast("Literal['json', 'csv']", table.choice("format", _FORMATS, "json"))
    if body_format == "csv":
        # A body is the list of rows, and a row has no nested members.
        paging = replace(paging, style="none")
        shape = RecordShape((), shape.id, None, (), shape.id_type, as_columns(shape.identity))
    own_pages, own_records = table.table("pages"), table.table("records")
    path = table.string("path")
    if not _is_path(path):
        raise description_error(table.at("path"), "must be a path like /api/v3/statements")
    filters = table.strings("filters")
    since = table.optional_string("since")
    if since is not None and since not in filters:
        raise description_error(
            table.at("since"), f"must be one of its filters: {', '.join(filters)}", suggestion(since, filters)
        )
    endpoint = Endpoint(
        name=_name(name, table.path),
        path=path,
        record_type=table.string("record_type", name),
        fields=fields_from_table(table.table("fields")),
        filters=filters,
        since=since,
        sort=table.optional_string("sort"),
        order=table.strings("order"),
        order_is_total=table.boolean("order_is_total", default=False),
        paging=_paging(own_pages, paging),
        shape=_shape(own_records, shape, is_row=body_format == "csv"),
        format=body_format,
        sorts=table.strings("sorts"),
        filter_types=_filter_types(table.table("filter_types"), filters),
        requires=table.strings("requires"),
        filter_values=_filter_values(table.table("filter_values"), filters),
    )
    for required in endpoint.requires:
        if required not in filters:
            raise description_error(
                table.at("requires"),
                f"names {required!r}, which is not one of the filters",
                suggestion(required, filters),
            )
    if body_format == "csv" and (endpoint.paging.style != "none" or endpoint.shape.at or endpoint.shape.attributes):
        raise description_error(table.at("format"), "can be csv only without pages and paths to records or attributes")
    for own_table in (own_pages, own_records, table):
        own_table.done()
    return endpoint


def _filter_types(table: Table, filters: Sequence[str]) -> tuple[tuple[str, str], ...]:
    _check_filters(table, filters)
    return tuple((name, table.choice(name, FILTER_TYPES, "string")) for name, _ in table.value_items())


def _filter_values(table: Table, filters: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    _check_filters(table, filters)
    return tuple((name, table.strings(name)) for name, _ in table.value_items())


def _check_filters(table: Table, filters: Sequence[str]) -> None:
    for name, _ in table.value_items():
        if name not in filters:
            raise description_error(table.at(name), "is not one of the filters", suggestion(name, filters))


def _name(name: str, path: str) -> str:
    if not _NAME.fullmatch(name):
        raise description_error(path, "must be a name of lower-case letters, digits, - and _")
    return name
