"""What the query parameters of an operation are for: paging, sorting and filtering."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.paging_parameters import PagingParameters, read_paging
from bulk_export.services.openapi.parameters import BRACKETED, Parameter, read_parameters
from bulk_export.services.openapi.types import Schemas

_SORTS = frozenset({"sort", "sortby", "order", "orderby", "ordering"})
_YEARS = re.compile(r"(?:19|20)\d\d(?:\s*,\s*(?:19|20)\d\d)*", re.ASCII)
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UUIDS = re.compile(rf"{_UUID}(?:\s*,\s*{_UUID})*")
_SINCE = re.compile(r"(?:updated|modified|changed|created)_?(?:since|after|from|gte?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OperationQuery:
    """The query that an operation takes.

    Attributes:
        paging: Its paging parameters.
        filter_template: The name of a filter's parameter, with `{name}` in place of the filter's name.
        filter_types: The type of each filter's value, by filter name.
        filter_values: The values of filters that accept only certain values, by filter name.
        required_filters: The filters that the operation requires.
        sort_parameter: The parameter for the sort order.
        sorts: The values that the sort parameter accepts.
        unsupported: The parameters that cannot be given as filters.
        unsupported_required: Those of them that the operation requires.
    """

    paging: PagingParameters
    filter_template: str
    filter_types: Mapping[str, str]
    filter_values: Mapping[str, tuple[str, ...]]
    required_filters: tuple[str, ...]
    sort_parameter: str
    sorts: tuple[str, ...]
    unsupported: tuple[str, ...]
    unsupported_required: tuple[str, ...]


def read_query(schemas: Schemas, declared: Sequence[Any], *, first_page_hints: Set[int]) -> OperationQuery:
    """Sort the query parameters of an operation by what they are for.

    Args:
        schemas: The schemas of the document.
        declared: The `parameters` of the path item, then those of the operation.
        first_page_hints: The numbers of the first page that other parts of the operation suggest.

    Raises:
        UsageError: If a reference leads nowhere, or a schema is too large.
    """
    parameters = read_parameters(schemas, declared)
    paging = read_paging(schemas, parameters, first_page_hints)
    rest = [parameter for parameter in parameters if parameter.name not in paging.parameter_names]
    sort = next((parameter for parameter in rest if parameter.normalized_name in _SORTS), None)
    template, filters, unsupported = _split_filters([parameter for parameter in rest if parameter is not sort])
    return OperationQuery(
        paging=paging,
        filter_template=template,
        filter_types={name: _filter_type(schemas, name, entry) for name, entry in filters.items()},
        filter_values={name: values for name, entry in filters.items() if (values := _filter_values(schemas, entry))},
        required_filters=tuple(name for name, parameter in filters.items() if parameter.required),
        sort_parameter=sort.name if sort is not None else "sort",
        sorts=_enum_values(schemas, sort) if sort is not None else (),
        unsupported=tuple(parameter.name for parameter in unsupported),
        unsupported_required=tuple(parameter.name for parameter in unsupported if parameter.required),
    )


def since_filter(filters: Mapping[str, str]) -> str | None:
    """Return the filter that selects by the time of change, by its name; one for the time of creation if need be."""
    candidates = [name for name in filters if _SINCE.fullmatch(name)]
    return min(candidates, key=lambda name: "created" in name, default=None)


def _split_filters(parameters: Sequence[Parameter]) -> tuple[str, dict[str, Parameter], list[Parameter]]:
    """Return how filters are written, the filters by name, and the parameters that are not written so.

    If there is a parameter in brackets, like `filter[state]`, the filters are those with the same word before it.
    """
    matches = {parameter.name: BRACKETED.fullmatch(parameter.name) for parameter in parameters}
    prefix = next((match[1] for match in matches.values() if match is not None), None)
    if prefix is None:
        return "{name}", {parameter.name: parameter for parameter in parameters}, []
    filters, others = {}, []
    for parameter in parameters:
        match = matches[parameter.name]
        if match is not None and match[1] == prefix:
            filters[match[2]] = parameter
        else:
            others.append(parameter)
    return f"{prefix}[{{name}}]", filters, others


def _filter_type(schemas: Schemas, name: str, parameter: Parameter) -> str:
    """Return the type that a filter's value is checked by, one of `description.FILTER_TYPES`."""
    declared = [parameter.schema, *schemas.item_schemas(parameter.schema)]
    formats = [part.get("format") for schema in declared for part in schemas.with_subschemas(schema)]
    value_type = schemas.type_of(parameter.schema)
    example = str(parameter.example) if isinstance(parameter.example, str | int) else ""
    # An example may show the parameter as it is sent: filter[cohort]=2021.
    example = example.rpartition("=")[2] if "&" not in example else ""
    if value_type == "date":
        return "date"
    if "date-time" in formats or _SINCE.fullmatch(name) or "ISO 8601" in parameter.text:
        return "timestamp"
    if "uuid" in formats or _UUIDS.fullmatch(example):
        return "uuids"
    if name in ("cohort", "cohorts") and (not example or _YEARS.fullmatch(example)):
        return "years"
    if value_type in ("integer", "boolean"):
        return str(value_type)
    return "strings" if isinstance(value_type, list) else "string"


def _filter_values(schemas: Schemas, parameter: Parameter) -> tuple[str, ...]:
    """Return the values that a filter accepts; empty if it may accept others."""
    if schemas.type_of(parameter.schema) not in ("string", ["string"]):
        return ()
    if any("anyOf" in part or "oneOf" in part for part in schemas.with_subschemas(parameter.schema)):
        return ()  # one of several schemas may allow more
    return _enum_values(schemas, parameter)


def _enum_values(schemas: Schemas, parameter: Parameter) -> tuple[str, ...]:
    declared = [parameter.schema, *schemas.item_schemas(parameter.schema)]
    return tuple(dict.fromkeys(value for schema in declared for value in schemas.enum_strings(schema) if value))
