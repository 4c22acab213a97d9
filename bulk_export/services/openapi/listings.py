"""The lists that a spec offers: those that can be described, and those that cannot, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.naming import PathName, named
from bulk_export.services.openapi.query_parameters import OperationQuery, first_page_said, looks_like_paging, read_query
from bulk_export.services.openapi.response_shape import (
    NoRecords,
    RecordLocation,
    ResponseSchema,
    ResponseShape,
    find_records,
    other_form,
    read_answers,
    read_shape,
    says_nothing,
)
from bulk_export.services.openapi.types import Schemas

_IN_PATH = re.compile(r"\{([^{}]*)\}")
# Members of an answer that Spring's pages have, which count from 0.
_SPRING = frozenset({"totalPages", "totalElements", "numberOfElements", "pageable"})
# Objects beside the records that speak of pages, and what an answer that is not the whole list has.
_ABOUT_PAGES = frozenset({"links", "_links", "meta", "_meta", "page", "paging", "pagination", "pageInfo", "page_info"})
_FURTHER_PAGES = frozenset(
    {
        *("next", "next_page", "nextPage", "next_url", "nextUrl", "nextLink", "next_link", "@odata.nextLink"),
        *("next_cursor", "nextCursor", "nextToken", "next_token", "nextPageToken", "next_page_token", "endCursor"),
        *("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "total_pages", "totalPages"),
    }
)


@dataclass(frozen=True, slots=True)
class Listing:
    """One list endpoint as found."""

    path: str
    named: PathName
    format: str
    query: OperationQuery
    shape: ResponseShape


@dataclass(frozen=True, slots=True)
class ExcludedListing:
    """A list that cannot be described, by its path, and why."""

    path: str
    named: PathName
    reason: str


def find_listings(
    schemas: Schemas, spec: Mapping[str, Any], prefix: str, identifiers: Mapping[str, str], remarks: dict[str, None]
) -> Iterator[Listing | ExcludedListing]:
    """Every list in the paths of a spec, in their order. `remarks` collects what a person should know of some."""
    paths = spec.get("paths")
    for path, entry in paths.items() if isinstance(paths, Mapping) else ():
        item = schemas.resolved(entry)
        if not isinstance(path, str) or path.startswith("x-"):
            continue
        full = prefix + (path if path.startswith("/") else f"/{path}")
        found = _at_path(schemas, item, full, identifiers.get(full), f"GET {path}", remarks)
        if isinstance(found, str):
            yield ExcludedListing(full, named(full), found)
        elif found is not None:
            yield found


def _at_path(
    schemas: Schemas,
    item: Mapping[str, Any],
    path: str,
    identifier: str | None,
    where: str,
    remarks: dict[str, None],
) -> Listing | str | None:
    """The list at a path, or why there is none that can be described; None where nothing looks like a list."""
    operation = item.get("get")
    if not isinstance(operation, Mapping):
        posted = item.get("post")
        search = _list_in(schemas, read_answers(schemas, posted, ""), where) if isinstance(posted, Mapping) else None
        return None if search is None else "it is asked for by POST"
    found = _list_in(schemas, read_answers(schemas, operation, path), where)
    missing = _IN_PATH.findall(path)
    if found is None:
        form = other_form(schemas, operation, where)
        if form is not None:
            return f"it answers with {form}, which is not read here"
        is_open = says_nothing(schemas, operation) and not missing
        return "the spec does not say what it answers with" if is_open else None
    if missing:
        return f"its path needs {', '.join(missing)}"
    if not path.isprintable() or set(path) & set(" ?#{}"):
        return "its path is none that can be asked for"
    answer, place = found
    if isinstance(place, NoRecords):
        return place.reason
    listed = [one for origin in (item, operation) for one in _sequence(origin.get("parameters"))]
    members = _members(schemas, answer, where)
    query = read_query(schemas, listed, where, counts_from=_counts_from(operation, members))
    if query.paging.style == "cursor":
        return f"its pages are asked for with {query.paging.number}, neither by number and size nor by position"
    odd = [name for name in (*query.filters, *query.unused) if looks_like_paging(name)]
    if query.paging.style == "none" and odd:
        return f"{', '.join(odd)} may ask for its pages, in a way that is not known here"
    if query.paging.style != "none" and answer.form == "csv":
        return "it is a table that comes in pages"
    further = sorted(_FURTHER_PAGES & members)
    if query.paging.style == "none" and further:
        return f"its answer speaks of further pages ({', '.join(further)}), and nothing says how to ask for them"
    if query.demanded:
        return f"it demands {', '.join(query.demanded)}, which cannot be given as a filter"
    if query.paging.style == "none" and answer.form == "json":
        remarks[f"{where} takes no page parameters: one request must give all"] = None
    if query.unused:
        remarks[f"{where}: {', '.join(query.unused)} cannot be given as filters"] = None
    if place.beside:
        remarks[f"{where} has other lists beside its records, which are left out: {', '.join(place.beside)}"] = None
    if not place.record:
        remarks[f"{where}: the spec does not say what its records hold, and all goes to _extra"] = None
    name = named(path)
    shape = read_shape(schemas, answer, place, identifier, name.name.removesuffix("-csv"), where)
    if not shape.id:
        remarks[f"{where}: nothing identifies its records, so that all are kept and none is looked for again"] = None
    return Listing(path, name, answer.form, query, shape)


def _list_in(
    schemas: Schemas, answers: list[ResponseSchema], where: str
) -> tuple[ResponseSchema, RecordLocation | NoRecords] | None:
    """The first answer that holds a list of records, else one that holds a list of something else."""
    found = [(answer, place) for answer in answers if (place := find_records(schemas, answer, where)) is not None]
    return next((one for one in found if isinstance(one[1], RecordLocation)), found[0] if found else None)


def _members(schemas: Schemas, answer: ResponseSchema, where: str) -> set[str]:
    """The names of what stands around the records in an answer, that in objects on paging as well."""
    declared = schemas.type_of(answer.schema, where) if answer.form == "json" else None
    if not isinstance(declared, dict):
        return set()
    inside = [value for name, value in declared.items() if name in _ABOUT_PAGES and isinstance(value, dict)]
    return {name for members in (declared, *inside) for name in members}


def _counts_from(operation: Mapping[str, Any], members: set[str]) -> set[int]:
    """The numbers of the first page that the words of an operation and the members of its answer hint at."""
    texts = [str(operation.get(key) or "") for key in ("summary", "description")]
    said = first_page_said("\n".join(texts))
    return said | {0} if len(_SPRING & members) > 1 else said


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
