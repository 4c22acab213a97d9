"""The successful response of an operation: its media types and their schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bulk_export.services.openapi.types import Schemas

# The responses of a successful request, the first that is declared counts.
_SUCCESS = ("200", "2XX", "2xx", "206", "203", "default")
_JSON = ("application/json", "text/json", "*/*", "application/*")
_CSV = ("text/csv", "application/csv", "text/comma-separated-values")


@dataclass(frozen=True, slots=True)
class ResponseSchema:
    """The schema of a successful response in one format."""

    format: Literal["json", "csv"]
    schema: Any


def read_response_schemas(schemas: Schemas, operation: Mapping[str, Any], path: str) -> list[ResponseSchema]:
    """Return the formats of the successful response that can be read, JSON first. A path that ends in `.csv` is CSV."""
    content = _content(schemas, operation)
    if path.endswith(".csv") and not any("json" in media_type for media_type in content):
        return [ResponseSchema("csv", _with_example(next(iter(content.values()), {})))]
    json = [
        ResponseSchema("json", media.get("schema"))
        for media_type, media in content.items()
        if media_type in _JSON or media_type.endswith("+json")
    ]
    csv = [ResponseSchema("csv", _with_example(media)) for media_type, media in content.items() if media_type in _CSV]
    return json[:1] + csv[:1]


def media_types(schemas: Schemas, operation: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each media type of the successful response with its schema."""
    for media_type, media in _content(schemas, operation).items():
        yield media_type, media.get("schema")


def is_undescribed(schemas: Schemas, operation: Mapping[str, Any]) -> bool:
    """Whether the document leaves open what the successful response contains."""
    content = _content(schemas, operation)
    json_schemas = [media.get("schema") for kind, media in content.items() if "json" in kind or kind == "*/*"]
    return not content or (bool(json_schemas) and all(schema in (None, {}, True) for schema in json_schemas))


def _content(schemas: Schemas, operation: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the media type objects of the successful response by media type, without its parameters."""
    responses = schemas.resolve(operation.get("responses"))
    response = next((responses[status] for status in _SUCCESS if status in responses), None)
    content = schemas.resolve(response).get("content")
    return {
        str(media_type).partition(";")[0].strip().lower(): media
        for media_type, media in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(media, Mapping)
    }


def _with_example(media: Mapping[str, Any]) -> Any:
    """Return the schema of CSV with the example of its media type, which may show the columns."""
    schema, example, examples = media.get("schema"), media.get("example"), media.get("examples")
    if example is None and isinstance(examples, Mapping):
        first = next(iter(examples.values()), None)
        example = first.get("value") if isinstance(first, Mapping) else None
    if example is None:
        return schema
    return {"allOf": [schema if isinstance(schema, Mapping) else {}], "example": example}
