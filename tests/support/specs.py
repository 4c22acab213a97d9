"""Small OpenAPI documents, and the descriptions made of them."""

from __future__ import annotations

from typing import Any

from bulk_export.core.model import Endpoint, Service
from bulk_export.services.description import read_description
from bulk_export.services.openapi import GeneratedDescription, describe

RECORD = {"type": "object", "properties": {"id": {"type": "string"}, "size": {"type": "integer"}}}
BOXES = {"type": "object", "properties": {"data": {"type": "array", "items": RECORD}}}


def array(item: Any) -> dict[str, Any]:
    """The schema of an array."""
    return {"type": "array", "items": item}


def answering(content: Any, *parameters: dict[str, Any]) -> dict[str, Any]:
    """A path item whose GET returns some content, by media type."""
    answer = {"description": "ok", "content": content}
    return {"get": {"parameters": list(parameters), "responses": {"200": answer}}}


def listing(*parameters: dict[str, Any], schema: Any = BOXES) -> dict[str, Any]:
    """A path item whose GET returns a list as JSON."""
    return answering({"application/json": {"schema": schema}}, *parameters)


def table(schema: Any, **media: Any) -> dict[str, Any]:
    """A path item whose GET returns CSV, without a schema if it is None."""
    return answering({"text/csv": ({} if schema is None else {"schema": schema}) | media})


def query(name: str, description: str = "", **schema: Any) -> dict[str, Any]:
    """A query parameter, an integer unless the schema says otherwise."""
    return {"name": name, "in": "query", "description": description, "schema": {"type": "integer", **schema}}


def spec(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document with some paths."""
    return {"openapi": "3.1.0", "info": {"title": "Boxes", "version": "1.0"}, "paths": paths, **more}


def described(paths: dict[str, Any], **more: Any) -> GeneratedDescription:
    """The description of a document with some paths."""
    return describe(spec(paths, **more), "spec.yaml")


def read(paths: dict[str, Any], version: str | None = None, **more: Any) -> Service:
    """The service of a document with some paths."""
    return read_description(described(paths, **more).document, version)


def only(paths: dict[str, Any], **more: Any) -> Endpoint:
    """The only endpoint of a document with some paths."""
    (endpoint,) = read(paths, **more)
    return endpoint
