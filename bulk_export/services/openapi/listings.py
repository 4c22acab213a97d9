"""The list endpoints in the paths of a document, and those that cannot be described, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.naming import PathName, parse_path
from bulk_export.services.openapi.paging_parameters import first_page_in, looks_like_paging
from bulk_export.services.openapi.query_parameters import OperationQuery, read_query
from bulk_export.services.openapi.record_location import RecordLocation, UnsupportedList, find_records, is_list
from bulk_export.services.openapi.response_shape import ResponseShape, read_shape
from bulk_export.services.openapi.responses import (
    ResponseSchema,
    is_undescribed,
    media_types,
    read_response_schemas,
)
from bulk_export.services.openapi.types import Schemas

_PATH_PARAMETER = re.compile(r"\{([^{}]*)\}")
# Members of a response body of Spring, which numbers pages from 0.
_SPRING = frozenset({"totalPages", "totalElements", "numberOfElements", "pageable"})
# Objects about paging beside the records.
_PAGING_OBJECTS = frozenset(
    {"links", "_links", "meta", "_meta", "page", "paging", "pagination", "pageInfo", "page_info"}
)
# Members that only a response with further pages has.
_FURTHER_PAGES = frozenset(
    {
        *("next", "next_page", "nextPage", "next_url", "nextUrl", "nextLink", "next_link", "@odata.nextLink"),
        *("next_cursor", "nextCursor", "nextToken", "next_token", "nextPageToken", "next_page_token", "endCursor"),
        *("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "total_pages", "totalPages"),
    }
)


@dataclass(frozen=True, slots=True)
class Listing:
    """A list endpoint that can be described."""

    path: str
    name: PathName
    format: str
    query: OperationQuery
    shape: ResponseShape


@dataclass(frozen=True, slots=True)
class ExcludedListing:
    """A list endpoint that cannot be described, and why."""

    path: str
    name: PathName
    reason: str


class _Excluded(Exception):
    """Carries the reason why a list endpoint cannot be described out of the step that finds it."""


def find_listings(
    schemas: Schemas,
    document: Mapping[str, Any],
    prefix: str,
    identifiers: Mapping[str, str],
    remarks: dict[str, None],
) -> Iterator[Listing | ExcludedListing]:
    """Yield every list endpoint of a document, in the order of its paths.

    Args:
        schemas: The schemas of the document.
        document: The document.
        prefix: What every path begins with below the base URL.
        identifiers: The members that identify the records of some endpoints, by path with the prefix.
        remarks: Takes what a reader of the description should know; an ordered set.

    Raises:
        UsageError: If a reference leads nowhere, or a schema is too large.
    """
    paths = document.get("paths")
    for path, entry in paths.items() if isinstance(paths, Mapping) else ():
        path_item = schemas.resolve(entry)
        if not isinstance(path, str) or path.startswith("x-"):
            continue
        full_path = prefix + (path if path.startswith("/") else f"/{path}")
        try:
            listing = _read_listing(
                schemas.at(f"GET {path}"), path_item, full_path, identifiers.get(full_path), remarks
            )
        except _Excluded as excluded:
            yield ExcludedListing(full_path, parse_path(full_path), str(excluded))
        else:
            if listing is not None:
                yield listing


def _read_listing(
    schemas: Schemas,
    path_item: Mapping[str, Any],
    path: str,
    known_id: str | None,
    remarks: dict[str, None],
) -> Listing | None:
    """Return the list endpoint at a path; None if nothing there is a list. Raises _Excluded."""
    operation = path_item.get("get")
    if not isinstance(operation, Mapping):
        posted = path_item.get("post")
        if isinstance(posted, Mapping) and _find_list(schemas, read_response_schemas(schemas, posted, "")):
            raise _Excluded("it is requested by POST")
        return None
    located = _find_list(schemas, read_response_schemas(schemas, operation, path))
    if located is None:
        _check_unreadable(schemas, operation, path)
        return None
    _check_path(path)
    response, location = located
    if isinstance(location, UnsupportedList):
        raise _Excluded(location.reason)
    members = _members_beside_records(schemas, response)
    declared = [*_list(path_item.get("parameters")), *_list(operation.get("parameters"))]
    query = read_query(schemas, declared, first_page_hints=_first_page_hints(operation, members))
    _check_query(query, response, members)
    name = parse_path(path)
    shape = read_shape(schemas, response, location, known_id, name.name.removesuffix("-csv"))
    for remark in _remarks(query, response, location, shape):
        remarks[schemas.where + remark] = None
    return Listing(path, name, response.format, query, shape)


def _find_list(
    schemas: Schemas, responses: Sequence[ResponseSchema]
) -> tuple[ResponseSchema, RecordLocation | UnsupportedList] | None:
    """Return the first response with a list of records, or else the first with an unsupported list."""
    located = [
        (response, location) for response in responses if (location := find_records(schemas, response)) is not None
    ]
    supported = (entry for entry in located if isinstance(entry[1], RecordLocation))
    return next(supported, located[0] if located else None)


def _check_unreadable(schemas: Schemas, operation: Mapping[str, Any], path: str) -> None:
    """Raise _Excluded if an operation without a list that can be read may return one all the same."""
    for media_type, schema in media_types(schemas, operation):
        if is_list(schemas, media_type, schema):
            raise _Excluded(f"its media type, {media_type}, is not supported")
    if is_undescribed(schemas, operation) and not _PATH_PARAMETER.search(path):
        raise _Excluded("the OpenAPI file does not describe its response")


def _check_path(path: str) -> None:
    parameters = _PATH_PARAMETER.findall(path)
    if parameters:
        raise _Excluded(f"its path needs {', '.join(parameters)}")
    if not path.isprintable() or set(path) & set(" ?#{}"):
        raise _Excluded("its path cannot be requested")


def _check_query(query: OperationQuery, response: ResponseSchema, members: set[str]) -> None:
    """Raise _Excluded if not every page can be requested."""
    paging = query.paging
    if paging.style == "unsupported":
        raise _Excluded(f"paging by {paging.number} is not supported, only by page number or offset")
    if paging.style == "none":
        if similar := [name for name in (*query.filter_types, *query.unsupported) if looks_like_paging(name)]:
            raise _Excluded(f"it may page by {', '.join(similar)}, in a way that is not known")
        if further := sorted(_FURTHER_PAGES & members):
            raise _Excluded(
                f"its response mentions further pages ({', '.join(further)}), but no parameter selects them"
            )
    elif response.format == "csv":
        raise _Excluded("it returns CSV in pages")
    if query.unsupported_required:
        raise _Excluded(f"it requires {', '.join(query.unsupported_required)}, which cannot be given as a filter")


def _members_beside_records(schemas: Schemas, response: ResponseSchema) -> set[str]:
    """Return the members of a response body, and those of its objects about paging."""
    declared = schemas.type_of(response.schema) if response.format == "json" else None
    if not isinstance(declared, dict):
        return set()
    paging_objects = [value for name, value in declared.items() if name in _PAGING_OBJECTS and isinstance(value, dict)]
    return {name for members in (declared, *paging_objects) for name in members}


def _first_page_hints(operation: Mapping[str, Any], members: set[str]) -> set[int]:
    texts = [str(operation.get(key) or "") for key in ("summary", "description")]
    hints = first_page_in("\n".join(texts))
    return hints | {0} if len(_SPRING & members) > 1 else hints


def _remarks(
    query: OperationQuery, response: ResponseSchema, location: RecordLocation, shape: ResponseShape
) -> Iterator[str]:
    """Yield what was assumed or left out, each to be put after the name of the operation."""
    if query.paging.style == "none" and response.format == "json":
        yield " has no page parameters: one request must return everything"
    if query.unsupported:
        yield f": {', '.join(query.unsupported)} cannot be given as filters"
    if location.other_lists:
        yield f" has other lists beside its records, which are left out: {', '.join(location.other_lists)}"
    if not location.record:
        yield ": the OpenAPI file does not say what its records contain, so everything goes to _extra"
    if not shape.id:
        yield ": nothing identifies its records, so no duplicates are removed"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
