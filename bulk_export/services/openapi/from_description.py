"""From the description of a service to the OpenAPI document that it would publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from bulk_export.core.model import Endpoint, FieldType, Kind, Service, Struct, fold_type

_SCALAR_SCHEMAS: dict[Kind, dict[str, Any]] = {
    Kind.STRING: {"type": "string"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.INTEGER: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.TIMESTAMP: {"type": "string", "format": "date-time"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.ANY: {},
}
_FILTER_EXAMPLES = {
    "years": "2021,2022",
    "uuids": "7e5bcdbf-c818-4961-8da5-439cab1984e0",
}


def openapi_yaml(service: Service) -> bytes:
    """Return `openapi_document` as YAML in UTF-8."""
    return yaml.dump(
        openapi_document(service),
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        allow_unicode=True,
        encoding="utf-8",
    )


def openapi_document(service: Service) -> dict[str, Any]:
    """Return an OpenAPI 3.0 document with every endpoint, field, filter and sort of a service."""
    return {
        "openapi": "3.0.1",
        "info": {"title": service.title, "version": service.version},
        "servers": [{"url": url, "description": name} for name, url in service.environments],
        "security": [{"token": []}],
        "paths": {endpoint.path: {"get": _operation(service, endpoint)} for endpoint in service},
        "components": {"securitySchemes": {"token": _security_scheme(service)}},
    }


def _security_scheme(service: Service) -> dict[str, Any]:
    """Return a scheme whose description says how the token is written, as `security_schemes` reads it."""
    if (service.auth.header.lower(), service.auth.scheme) == ("authorization", "Bearer"):
        return {"type": "http", "scheme": "bearer"}
    scheme = service.auth.scheme
    text = service.auth.value("TOKEN") if "{token}" in scheme else f"prefix {scheme}"
    description = {"description": text} if scheme else {}
    return {"type": "apiKey", "in": "header", "name": service.auth.header, **description}


def _operation(service: Service, endpoint: Endpoint) -> dict[str, Any]:
    media_type = "text/csv" if endpoint.format == "csv" else "application/json"
    body: dict[str, Any] = {"type": "array", "items": _record_schema(endpoint)}
    for name in reversed(endpoint.shape.at or (("data",) if endpoint.format == "csv" else ())):
        body = {"type": "object", "required": [name], "properties": {name: body}}
    return {
        "summary": f"List {endpoint.name}",
        "parameters": _parameters(service, endpoint),
        "responses": {"200": {"description": "OK", "content": {media_type: {"schema": body}}}},
    }


def _parameters(service: Service, endpoint: Endpoint) -> list[dict[str, Any]]:
    paging = endpoint.paging
    parameters: list[dict[str, Any]] = []
    if paging.style != "none":
        size: dict[str, Any] = {"type": "integer", "default": service.default_page_size}
        if paging.largest is not None:
            size["maximum"] = paging.largest
        first = {"default": paging.first} if paging.first_is_known else {}
        parameters.append(_parameter(paging.number, {"type": "integer", **first}))
        if paging.size:
            parameters.append(_parameter(paging.size, size))
    types, values = dict(endpoint.filter_types), dict(endpoint.filter_values)
    for name in endpoint.filters:
        schema = _filter_schema(types.get(name, "string"), values.get(name, ()))
        parameter = _parameter(paging.filter.replace("{name}", name), schema)
        parameters.append(parameter | {"required": name in endpoint.requires})
    if endpoint.sorts or endpoint.sort:
        enum = {"enum": list(endpoint.sorts)} if endpoint.sorts else {}
        parameters.append(_parameter(paging.sort, {"type": "string", **enum}))
    return parameters


def _filter_schema(kind: str, values: Sequence[str]) -> dict[str, Any]:
    formats = {"timestamp": "date-time", "date": "date"}
    enum = {"enum": list(values)} if values else {}
    if kind in formats:
        return {"type": "string", "format": formats[kind]}
    if kind == "strings":
        return {"type": "array", "items": {"type": "string", **enum}}
    example = {"example": _FILTER_EXAMPLES[kind]} if kind in _FILTER_EXAMPLES else {}
    return {"type": kind if kind in ("integer", "boolean") else "string", **enum, **example}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _record_schema(endpoint: Endpoint) -> dict[str, Any]:
    shape = endpoint.shape
    record: dict[str, Any] = _type_schema(Struct(endpoint.fields))
    for name in reversed(shape.attributes):
        record = {"type": "object", "properties": {name: record}}
    if shape.id:
        _set_property(record, shape.id, _SCALAR_SCHEMAS[shape.id_type], replace=False)
    if shape.type:
        _set_property(record, shape.type, {"type": "string", "enum": [endpoint.record_type]}, replace=True)
    return record


def _set_property(record: dict[str, Any], path: tuple[str, ...], schema: dict[str, Any], *, replace: bool) -> None:
    for name in path[:-1]:
        record = record.setdefault("properties", {}).setdefault(name, {"type": "object"})
    properties = record.setdefault("properties", {})
    if replace or path[-1] not in properties:
        record["properties"] = {path[-1]: schema} | properties


def _type_schema(declared: FieldType) -> dict[str, Any]:
    return fold_type(
        declared,
        scalar=lambda kind: {**_SCALAR_SCHEMAS[kind], "nullable": True},
        list_of=lambda item: {"type": "array", "items": item},
        struct=lambda members: {"type": "object", "properties": dict(members)},
    )
