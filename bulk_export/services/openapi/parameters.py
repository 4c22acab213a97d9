"""The query parameters of an operation, each as it is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.types import Schemas

_SEPARATORS = re.compile(r"[\[\]._$ -]+")
# A parameter like `filter[state]`: the first group is `filter`, the second one `state`.
BRACKETED = re.compile(r"([\w-]+)\[([^\[\]]+)\]")


def normalized(name: str) -> str:
    """Return the letters and digits of a name in lower case: `page[per_page]`, `pagePerPage` are `pageperpage`."""
    return "".join(word.lower() for word in _SEPARATORS.split(name))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter.

    Attributes:
        name: Its name on the wire.
        schema: The schema of its value.
        required: Whether the service requires it.
        text: Its description and that of its schema, one a line.
        example: An example of its value; None if there is none.
    """

    name: str
    schema: Any
    required: bool
    text: str
    example: Any

    @property
    def normalized_name(self) -> str:
        """The name as `normalized` writes it."""
        return normalized(self.name)


def read_parameters(schemas: Schemas, declared: Sequence[Any]) -> list[Parameter]:
    """Return the query parameters of an operation, without duplicates.

    Args:
        schemas: The schemas of the document.
        declared: The `parameters` of the path item, then those of the operation, which override them.

    Raises:
        UsageError: If a reference leads nowhere, or a schema is too large.
    """
    parameters: dict[str, Parameter] = {}
    for entry in declared:
        for parameter in _as_sent(schemas, entry):
            parameters[parameter.name] = parameter
    return list(parameters.values())


def _as_sent(schemas: Schemas, entry: Any) -> Iterator[Parameter]:
    """Yield the parameters that one declaration stands for: several if it declares an object."""
    parameter = schemas.resolve(entry)
    name = parameter.get("name")
    if parameter.get("in") != "query" or not isinstance(name, str) or not name:
        return
    schema = parameter.get("schema")
    if schema is None:
        content = parameter.get("content")
        media = next(iter(content.values()), None) if isinstance(content, Mapping) else None
        schema = media.get("schema") if isinstance(media, Mapping) else None
    required = parameter.get("required") is True
    text, example = _text(parameter), parameter.get("example")
    declared = schemas.at(f"{schemas.where}, parameter {name}").type_of(schema)
    bracketed = BRACKETED.fullmatch(name)
    if bracketed is not None and isinstance(declared, dict):
        # 1. `page[size]` is declared with the schema of the complete object `page`. The published files do so.
        member = schemas.resolve(next(schemas.property_schemas(schema, bracketed[2]), {}))
        yield Parameter(name, member, required, text + _text(member), _example(member))
    elif isinstance(declared, dict) and declared:
        # 2. An object: each member is a parameter, in brackets or by its own name.
        in_brackets = parameter.get("style") == "deepObject" or name in ("filter", "page")
        required_members = {
            member for part in schemas.with_subschemas(schema) for member in _strings(part.get("required"))
        }
        for member_name in declared:
            member = schemas.resolve(next(schemas.property_schemas(schema, member_name), {}))
            sent_name = f"{name}[{member_name}]" if in_brackets else member_name
            yield Parameter(sent_name, member, member_name in required_members, _text(member), _example(member))
    else:
        # 3. A single value, or an array of them.
        resolved = schemas.resolve(schema)
        yield Parameter(
            name, schema, required, text + _text(resolved), example if example is not None else _example(resolved)
        )


def _text(node: Any) -> str:
    text = node.get("description") if isinstance(node, Mapping) else None
    return f"{text}\n" if isinstance(text, str) else ""


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _example(node: Any) -> Any:
    return node.get("example") if isinstance(node, Mapping) else None
