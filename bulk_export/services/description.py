"""From a parsed description to a `model.Service`; every key is checked, and named where it is wrong."""

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
from bulk_export.services.identity import in_a_row, read_identity
from bulk_export.services.toml_table import Table, near, wrong

_DEFAULT_PAGE_SIZE = 100
_STYLES = ("pages", "offset", "none")
_FORMATS = ("json", "csv")
FILTER_TYPES = ("string", "strings", "uuids", "years", "timestamp", "date", "integer", "boolean")
_UNKNOWN = "unknown"
# Names of endpoints become directories, that of the service the beginning of one.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?", re.ASCII)


def read_description(document: Mapping[str, Any], version: str | None) -> Service:
    """A service from a parsed description, in its default version where none is given.

    Raises UsageError naming the key that is wrong, and for a version that is not described.
    """
    top = Table(document)
    name = _name(top.text("name"), "name")
    versions = top.table("versions")
    names = [version_name for version_name, _ in versions.tables()]
    if not names:
        raise wrong("versions", "holds no version")
    chosen = top.text("default_version", names[0] if len(names) == 1 else None)
    if chosen not in names:
        raise wrong("default_version", f"must be one of: {', '.join(names)}")
    chosen = version or chosen
    if chosen not in names:
        raise UsageError(
            f"Service {name} has no version {chosen!r} here.",
            next_step=f"Choose --api-version from: {', '.join(names)}.",
        )
    pages, records, limits = top.table("pages"), top.table("records"), top.table("limits")
    default_size = pages.whole("default", _DEFAULT_PAGE_SIZE, least=1)
    paging, shape = _paging(pages, Paging(largest=None)), _shape(records, RecordShape())
    read = {
        known: tuple(_endpoint(one, entry, paging, shape) for one, entry in endpoints.tables())
        for known, endpoints in versions.tables()
    }
    service = Service(
        name=name,
        version=chosen,
        title=top.text("title", name),
        endpoints=read[chosen],
        environments=_environments(top.table("environments")),
        service_limit=limits.parsed("service", parse_limit),
        ip_limit=limits.parsed("ip", parse_limit),
        default_page_size=default_size or _DEFAULT_PAGE_SIZE,
        largest_page_size=_largest_of(read[chosen], paging),
        auth=_authorization(top.table("auth")),
        successor=top.optional_text("successor"),
        left_out=_left_out(top.table("left_out"), names, chosen),
        spec_path=_spec_path(top),
    )
    for table in (limits, pages, records, top):
        table.done()
    return service


def _largest_of(endpoints: Sequence[Endpoint], usual: Paging) -> int | None:
    """The largest page that any endpoint gives; None where that is not known of all."""
    stated = {one.paging.largest for one in endpoints if one.paging.style != "none"} or {usual.largest}
    known = [largest for largest in stated if largest is not None]
    return max(known) if len(known) == len(stated) else None


def _left_out(table: Table, versions: Sequence[str], chosen: str) -> tuple[tuple[str, str], ...]:
    """What the chosen version leaves out; that of the others is checked only."""
    read = {}
    for version, lists in table.tables():
        if version not in versions:
            raise wrong(lists.path, "is none of the versions", near(version, versions))
        read[version] = tuple((name, lists.text(name)) for name, _ in lists.value_items())
    return read.get(chosen, ())


def _spec_path(table: Table) -> str:
    path = table.text("spec", "/api/docs/{version}/swagger.yaml")
    if not _is_path(path):
        raise wrong(table.at("spec"), "must be a path like /api/docs/{version}/swagger.yaml")
    return path


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isprintable() and not set(text) & set(" ?#")


def _environments(table: Table) -> tuple[tuple[str, str], ...]:
    return tuple((name, table.text(name)) for name, _ in table.value_items())


def _authorization(table: Table) -> Authorization:
    default = Authorization()
    header = table.text("header", default.header)
    if not header or not header.isascii() or not header.replace("-", "").isalnum():
        raise wrong(table.at("header"), "must be the name of an HTTP header")
    scheme = table.text("scheme", default.scheme)
    if not scheme.isascii() or not scheme.isprintable():
        raise wrong(table.at("scheme"), "must be printable ASCII")
    table.done()
    return Authorization(header, scheme)


def _paging(table: Table, default: Paging) -> Paging:
    chosen = table.choice("style", (*_STYLES, _UNKNOWN), default.style if default.style_is_known else _UNKNOWN)
    style = cast("Literal['pages', 'offset', 'none']", "pages" if chosen == _UNKNOWN else chosen)
    first, first_is_known = default.first, default.first_is_known
    if style == "offset" and default.style != "offset":
        first, first_is_known = 0, True  # offsets count from 0 where nothing else is said
    if table.value("first", None) == _UNKNOWN:
        if style == "offset":
            raise wrong(table.at("first"), "must be a whole number where pages are asked for by offset")
        first, first_is_known = 1, False
    elif "first" in table:
        first, first_is_known = table.whole("first", first, least=0) or 0, True
    largest = default.largest
    if table.value("largest", None) == _UNKNOWN:
        largest = None
    elif "largest" in table:
        largest = table.whole("largest", None, least=1)
    paging = Paging(
        style=style,
        number=table.text("number", default.number),
        size=table.text("size", default.size),
        first=first,
        filter=table.text("filter", default.filter),
        sort=table.text("sort", default.sort),
        largest=largest,
        first_is_known=first_is_known,
        style_is_known=chosen != _UNKNOWN,
    )
    if "{name}" not in paging.filter or paging.filter.replace("{name}", "").count("{"):
        raise wrong(table.at("filter"), "must hold {name} where the name of a filter goes")
    if style == "pages" and paging.first > 1:
        raise wrong(table.at("first"), "must be 0 or 1")
    if paging.number == paging.size:
        raise wrong(table.at("size"), "must be another parameter than number")
    return paging


def _shape(table: Table, default: RecordShape, *, is_row: bool = False) -> RecordShape:
    attributes = table.texts("attributes", default.attributes)
    identifier, identity = read_identity(table, default, attributes, is_row=is_row)
    given_type = table.value("type", list(default.type) if default.type else None)
    shape = RecordShape(
        at=table.texts("at", default.at),
        id=identifier,
        type=None if given_type in (None, []) else table.texts("type", default.type or ()),
        attributes=attributes,
        id_type=Kind(table.choice("id_type", ("string", "integer"), default.id_type.value)),
        identity=identity,
    )
    if not shape.attributes and "type" not in table and default.attributes:
        # Records without a place for attributes hardly ever have one for a type.
        return replace(shape, type=None, attributes=())
    if shape.attributes and shape.attributes in (shape.id, shape.type):
        raise wrong(table.at("attributes"), "must be another member than id and type")
    return shape


def _endpoint(name: str, table: Table, paging: Paging, shape: RecordShape) -> Endpoint:
    form = cast("Literal['json', 'csv']", table.choice("format", _FORMATS, "json"))
    if form == "csv":
        # A row has neither a list around it nor members of members.
        paging = replace(paging, style="none")
        shape = RecordShape((), shape.id, None, (), shape.id_type, in_a_row(shape.identity))
    own_pages, own_records = table.table("pages"), table.table("records")
    path = table.text("path")
    if not _is_path(path):
        raise wrong(table.at("path"), "must be a path like /api/v3/statements")
    filters = table.texts("filters")
    since = table.optional_text("since")
    if since is not None and since not in filters:
        raise wrong(table.at("since"), f"must be one of its filters: {', '.join(filters)}", near(since, filters))
    endpoint = Endpoint(
        name=_name(name, table.path),
        path=path,
        record_type=table.text("record_type", name),
        fields=fields_from_table(table.table("fields")),
        filters=filters,
        since=since,
        sort=table.optional_text("sort"),
        order=table.texts("order"),
        order_is_total=table.flag("order_is_total", default=False),
        paging=_paging(own_pages, paging),
        shape=_shape(own_records, shape, is_row=form == "csv"),
        format=form,
        sorts=table.texts("sorts"),
        filter_types=_filter_types(table.table("filter_types"), filters),
        requires=table.texts("requires"),
        filter_values=_filter_values(table.table("filter_values"), filters),
    )
    for required in endpoint.requires:
        if required not in filters:
            raise wrong(
                table.at("requires"), f"names {required!r}, which is none of the filters", near(required, filters)
            )
    if form == "csv" and (endpoint.paging.style != "none" or endpoint.shape.at or endpoint.shape.attributes):
        raise wrong(table.at("format"), "can be csv only where one request gives all, as rows")
    for one in (own_pages, own_records, table):
        one.done()
    return endpoint


def _filter_types(table: Table, filters: Sequence[str]) -> tuple[tuple[str, str], ...]:
    for name, _ in table.value_items():
        if name not in filters:
            raise wrong(table.at(name), "is none of the filters", near(name, filters))
    return tuple((name, table.choice(name, FILTER_TYPES, "string")) for name, _ in table.value_items())


def _filter_values(table: Table, filters: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    for name, _ in table.value_items():
        if name not in filters:
            raise wrong(table.at(name), "is none of the filters", near(name, filters))
    return tuple((name, table.texts(name)) for name, _ in table.value_items())


def _name(name: str, path: str) -> str:
    if not _NAME.fullmatch(name):
        raise wrong(path, "must be a name of lower-case letters, digits, - and _")
    return name
