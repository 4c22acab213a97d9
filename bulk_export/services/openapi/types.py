"""From JSON Schema to the field types of a description, through references and compositions.

A type is written as in a description: "string", "timestamp", [type], {name: type}; "any" is for values of several
types. None is the type of a schema that declares nothing. Every field is nullable, so `null` is ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from referencing import Registry
from referencing.exceptions import Unresolvable, Unretrievable
from referencing.jsonschema import DRAFT202012

from bulk_export.errors import UsageError

Declared = str | list[Any] | dict[str, Any]
_MOST_SCHEMAS = 50_000
_DEEPEST = 64
ANY = "any"
_ALTERNATIVES = ("oneOf", "anyOf")
_FORMATS = {"date-time": "timestamp", "date": "date"}
_SCALARS = {"string": "string", "boolean": "boolean", "integer": "integer", "number": "number"}


@dataclass(slots=True)
class _Document:
    source: str
    resolver: Any  # referencing does not export its type
    remarks: dict[str, None]
    visited: int = 0


class Schemas:
    """The schemas of one document, for a reader of one part of it.

    Attributes:
        where: The part that is read, for messages; empty for the complete document.
        remarks: What could not be expressed as a field type; an ordered set, shared by all parts.
    """

    def __init__(self, document: _Document, where: str = "") -> None:
        self._document = document
        self.where = where
        self.remarks = document.remarks

    @classmethod
    def of(cls, document: Mapping[str, Any], source: str) -> Schemas:
        """Return the schemas of a document that messages call `source`."""
        # Without its own `$id`, references cannot lead out of the document.
        contents = {key: value for key, value in document.items() if key not in ("$id", "$schema")}
        resolver = Registry().with_resource("", DRAFT202012.create_resource(contents)).resolver()
        return cls(_Document(source, resolver, {}))

    def at(self, where: str) -> Schemas:
        """Return the schemas for a reader of one part of the document."""
        return Schemas(self._document, where)

    def resolve(self, node: Any) -> Mapping[str, Any]:
        """Follow the references of a node to the end. Return an empty mapping if that is not an object."""
        seen = set()
        while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
            if node["$ref"] in seen:
                return {}
            seen.add(node["$ref"])
            node = self._target(node["$ref"])
        return node if isinstance(node, Mapping) else {}

    def type_of(self, schema: Any) -> Declared | None:
        """Return the type that a schema declares; None if it declares none.

        Raises:
            UsageError: If a reference leads nowhere or out of the document, or the schema is too large.
        """
        return self._type(schema, self.where, frozenset(), 0)

    def with_subschemas(self, schema: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
        """Yield a schema, the target of its reference and the schemas that it is composed of. Raises as `type_of`."""
        self._visit(self.where, depth)
        if not isinstance(schema, Mapping):
            return
        yield schema
        if isinstance(schema.get("$ref"), str) and depth < _DEEPEST:
            yield from self.with_subschemas(self._target(schema["$ref"]), depth + 1)
        for keyword in ("allOf", *_ALTERNATIVES):
            for part in _subschemas(schema, keyword):
                yield from self.with_subschemas(part, depth + 1)

    def property_schemas(self, schema: Any, name: str) -> Iterator[Any]:
        """Yield the schemas of a property of an object."""
        for part in self.with_subschemas(schema):
            properties = part.get("properties")
            if isinstance(properties, Mapping) and name in properties:
                yield properties[name]

    def item_schemas(self, schema: Any) -> Iterator[Any]:
        """Yield the schemas of the elements of an array."""
        for part in self.with_subschemas(schema):
            if "items" in part:
                yield part["items"]

    def enum_strings(self, schema: Any) -> list[str]:
        """Return the strings that a schema allows by `enum` or `const`, without duplicates."""
        strings: list[str] = []
        for part in self.with_subschemas(schema):
            enum = part.get("enum")
            values = enum if isinstance(enum, list) else [part["const"]] if "const" in part else []
            strings.extend(value for value in values if isinstance(value, str) and value not in strings)
        return strings

    def _type(self, schema: Any, where: str, open_references: frozenset[str], depth: int) -> Declared | None:
        """Return the type of a schema at `where`. `open_references` shows when a type contains itself."""
        self._visit(where, depth)
        if not isinstance(schema, Mapping):
            return None
        declared = self._own_type(schema, where, open_references, depth)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in open_references:
                self.remarks[f"{where} contains itself: the inner one goes to _extra"] = None
            else:
                target = self._type(self._target(reference), where, open_references | {reference}, depth + 1)
                declared = intersection(declared, target)
        for part in _subschemas(schema, "allOf"):
            declared = intersection(declared, self._type(part, where, open_references, depth + 1))
        for keyword in _ALTERNATIVES:
            alternatives = [
                self._type(part, where, open_references, depth + 1)
                for part in _subschemas(schema, keyword)
                if not _is_null(part)
            ]
            declared = intersection(declared, self._union(alternatives, where))
        return declared

    def _own_type(self, schema: Mapping[str, Any], where: str, refs: frozenset[str], depth: int) -> Declared | None:
        """Return the type by the `type` of a schema, without its reference and composition."""
        keyword = schema.get("type")
        names = [name for name in (keyword if isinstance(keyword, list) else [keyword]) if isinstance(name, str)]
        alternatives = [
            self._named_type(name, schema, where, refs, depth)
            for name in names or _implied_types(schema)
            if name != "null"
        ]
        return self._union(alternatives, where)

    def _named_type(
        self, name: str, schema: Mapping[str, Any], where: str, refs: frozenset[str], depth: int
    ) -> Declared | None:
        if name == "object":
            properties = schema.get("properties")
            members: dict[str, Any] = {}
            for key, value in properties.items() if isinstance(properties, Mapping) else ():
                declared = self._type(value, f"{where}.{key}", refs, depth + 1)
                if isinstance(key, str):
                    members[key] = ANY if declared is None else declared
            return members
        if name == "array":
            item = self._type(schema.get("items"), f"{where}[]", refs, depth + 1)
            return [ANY if item is None else item]
        if name == "string" and isinstance(schema.get("format"), str):
            return _FORMATS.get(schema["format"], "string")
        return _SCALARS.get(name)

    def _union(self, alternatives: Sequence[Declared | None], where: str) -> Declared | None:
        known = [declared for declared in alternatives if declared is not None]
        if not known:
            return None
        declared = functools.reduce(union, known)
        if declared == ANY and ANY not in known:
            self.remarks[f"{where} may be of types that no single column can hold: it goes to _extra"] = None
        return declared

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise UsageError(
                f"{self._document.source} refers to {reference!r}, outside the file.",
                next_step="Bundle the files into one first.",
            )
        try:
            return self._document.resolver.lookup(reference).contents
        except (Unresolvable, Unretrievable, KeyError, ValueError, TypeError, AttributeError, IndexError):
            raise UsageError(
                f"{self._document.source} refers to {reference!r}, which does not exist.",
                next_step="Correct the reference.",
            ) from None

    def _visit(self, where: str, depth: int) -> None:
        self._document.visited += 1
        if depth > _DEEPEST or self._document.visited > _MOST_SCHEMAS:
            reason = "nested too deeply" if depth > _DEEPEST else "too large when its references are followed"
            raise UsageError(
                f"{self._document.source} is {reason}, at {where}.", next_step="Describe the service by hand."
            )


def intersection(left: Declared | None, right: Declared | None) -> Declared | None:
    """Return the type of values that fit both types: the members of both objects, the narrower of two scalars."""
    if left is None or right is None:
        return right if left is None else left
    if ANY in (left, right):
        return right if left == ANY else left
    if isinstance(left, dict) and isinstance(right, dict):
        return {name: intersection(left.get(name), right.get(name)) for name in {**left, **right}}
    if isinstance(left, list) and isinstance(right, list):
        return [intersection(left[0], right[0])]
    narrower = {("string", "timestamp"), ("string", "date"), ("number", "integer")}
    return right if isinstance(left, str) and isinstance(right, str) and (left, right) in narrower else left


def union(left: Declared, right: Declared) -> Declared:
    """Return the type of values that fit one of two types; "any" if no column can hold both."""
    if left == right:
        return left
    if isinstance(left, dict) and isinstance(right, dict):
        return {
            name: union(left[name], right[name]) if name in left and name in right else {**left, **right}[name]
            for name in {**left, **right}
        }
    if isinstance(left, list) and isinstance(right, list):
        return [union(left[0], right[0])]
    if isinstance(left, str) and isinstance(right, str):
        kinds = {left, right}
        if kinds <= {"integer", "number"}:
            return "number"
        if kinds == {"date", "timestamp"}:
            return "timestamp"
        return "string" if kinds <= {"string", "date", "timestamp"} else ANY
    return ANY


def _subschemas(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    subschemas = schema.get(keyword)
    return subschemas if isinstance(subschemas, list) else []


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and (schema.get("type") in ("null", ["null"]) or schema.get("enum") == [None])


def _implied_types(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema without `type` has by its other keywords."""
    if isinstance(schema.get("properties"), Mapping):
        return ["object"]
    if "items" in schema:
        return ["array"]
    enum = schema.get("enum")
    values = [value for value in (enum if isinstance(enum, list) else [schema.get("const")]) if value is not None]
    names: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    types = list(dict.fromkeys(names[type(value)] for value in values if type(value) in names))
    return types or (["string"] if schema.get("format") in (*_FORMATS, "uuid", "email", "uri") else [])
