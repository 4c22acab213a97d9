"""Schemas to the types of a description, through references, compositions and nullability.

A type is written as in a description: "string", "timestamp", [type], {name: type}, and "any" where values of several
types are allowed; None where a schema says nothing. Everything is nullable, so nullability is dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
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


class Schemas:
    """The schemas of one document. `remarks` collects what could not be expressed, in order, each once."""

    def __init__(self, document: Mapping[str, Any], source: str) -> None:
        self._source = source
        # An identifier within the file must not send references elsewhere.
        plain = {key: value for key, value in document.items() if key not in ("$id", "$schema")}
        self._resolver = Registry().with_resource("", DRAFT202012.create_resource(plain)).resolver()
        self._visited = 0
        self.remarks: dict[str, None] = {}

    def resolved(self, node: Any) -> Mapping[str, Any]:
        """What a node or the end of its chain of references holds; an empty mapping where that is no object."""
        seen = set()
        while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
            if node["$ref"] in seen:
                return {}
            seen.add(node["$ref"])
            node = self._target(node["$ref"])
        return node if isinstance(node, Mapping) else {}

    def type_of(
        self, schema: Any, where: str, open_references: frozenset[str] = frozenset(), depth: int = 0
    ) -> Declared | None:
        """The type that a schema declares. Raises UsageError for what is too large, or refers to nowhere."""
        self._visit(where, depth)
        if not isinstance(schema, Mapping):
            return None
        found = self._own_type(schema, where, open_references, depth)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in open_references:
                self.remarks[f"{where} holds itself: the inner one is left to _extra"] = None
            else:
                inner = self.type_of(self._target(reference), where, open_references | {reference}, depth + 1)
                found = both(found, inner)
        for part in _listed(schema, "allOf"):
            found = both(found, self.type_of(part, where, open_references, depth + 1))
        for word in _ALTERNATIVES:
            offered = [
                self.type_of(part, where, open_references, depth + 1)
                for part in _listed(schema, word)
                if not _is_null(part)
            ]
            found = both(found, self._either(offered, where))
        return found

    def parts(self, schema: Any, where: str, depth: int = 0) -> Iterator[Mapping[str, Any]]:
        """A schema and all that it is composed of."""
        self._visit(where, depth)
        if not isinstance(schema, Mapping):
            return
        yield schema
        if isinstance(schema.get("$ref"), str) and depth < _DEEPEST:
            yield from self.parts(self._target(schema["$ref"]), where, depth + 1)
        for word in ("allOf", *_ALTERNATIVES):
            for part in _listed(schema, word):
                yield from self.parts(part, where, depth + 1)

    def member(self, schema: Any, name: str, where: str) -> Iterator[Any]:
        """The schemas that a member of an object is declared with."""
        for part in self.parts(schema, where):
            properties = part.get("properties")
            if isinstance(properties, Mapping) and name in properties:
                yield properties[name]

    def items(self, schema: Any, where: str) -> Iterator[Any]:
        """The schemas that the elements of an array are declared with."""
        for part in self.parts(schema, where):
            if "items" in part:
                yield part["items"]

    def words(self, schema: Any, where: str) -> list[str]:
        """The texts that a schema allows, by `enum` or `const`."""
        found: list[str] = []
        for part in self.parts(schema, where):
            listed = part.get("enum")
            values = listed if isinstance(listed, list) else [part["const"]] if "const" in part else []
            found.extend(value for value in values if isinstance(value, str) and value not in found)
        return found

    def _own_type(self, schema: Mapping[str, Any], where: str, refs: frozenset[str], depth: int) -> Declared | None:
        named = schema.get("type")
        names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]
        if not names:
            names = _implied(schema)
        offered = [self._named_type(name, schema, where, refs, depth) for name in names if name != "null"]
        return self._either(offered, where)

    def _named_type(
        self, name: str, schema: Mapping[str, Any], where: str, refs: frozenset[str], depth: int
    ) -> Declared | None:
        if name == "object":
            properties = schema.get("properties")
            members: dict[str, Any] = {}
            for key, value in properties.items() if isinstance(properties, Mapping) else ():
                declared = self.type_of(value, f"{where}.{key}", refs, depth + 1)
                if isinstance(key, str):
                    members[key] = ANY if declared is None else declared
            return members
        if name == "array":
            item = self.type_of(schema.get("items"), f"{where}[]", refs, depth + 1)
            return [ANY if item is None else item]
        if name == "string" and isinstance(schema.get("format"), str):
            return _FORMATS.get(schema["format"], "string")
        return _SCALARS.get(name)

    def _either(self, offered: Sequence[Declared | None], where: str) -> Declared | None:
        known = [one for one in offered if one is not None]
        if not known:
            return None
        found = functools.reduce(either, known)
        if found == ANY and ANY not in known:
            self.remarks[f"{where} may be of types that no one column holds: it is left to _extra"] = None
        return found

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise UsageError(
                f"{self._source} refers to {reference!r}, outside the file.",
                next_step="Bundle the files into one first.",
            )
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, Unretrievable, KeyError, ValueError, TypeError, AttributeError, IndexError):
            raise UsageError(
                f"{self._source} refers to {reference!r}, where nothing is.", next_step="Correct the reference."
            ) from None

    def _visit(self, where: str, depth: int) -> None:
        self._visited += 1
        if depth > _DEEPEST or self._visited > _MOST_SCHEMAS:
            reason = "nested too deeply" if depth > _DEEPEST else "too large when its references are followed"
            raise UsageError(f"{self._source} is {reason}, at {where}.", next_step="Describe the service by hand.")


def both(left: Declared | None, right: Declared | None) -> Declared | None:
    """The type of what fits two schemas at once: members of both objects, the narrower of two scalars."""
    if left is None or right is None:
        return right if left is None else left
    if ANY in (left, right):
        return right if left == ANY else left
    if isinstance(left, dict) and isinstance(right, dict):
        return {name: both(left.get(name), right.get(name)) for name in {**left, **right}}
    if isinstance(left, list) and isinstance(right, list):
        return [both(left[0], right[0])]
    narrower = {("string", "timestamp"), ("string", "date"), ("number", "integer")}
    return right if isinstance(left, str) and isinstance(right, str) and (left, right) in narrower else left


def either(left: Declared, right: Declared) -> Declared:
    """The type of what fits one of two schemas, "any" where no column takes both."""
    if left == right:
        return left
    if isinstance(left, dict) and isinstance(right, dict):
        return {
            name: either(left[name], right[name]) if name in left and name in right else {**left, **right}[name]
            for name in {**left, **right}
        }
    if isinstance(left, list) and isinstance(right, list):
        return [either(left[0], right[0])]
    if isinstance(left, str) and isinstance(right, str):
        kinds = {left, right}
        if kinds <= {"integer", "number"}:
            return "number"
        if kinds == {"date", "timestamp"}:
            return "timestamp"
        return "string" if kinds <= {"string", "date", "timestamp"} else ANY
    return ANY


def _listed(schema: Mapping[str, Any], word: str) -> list[Any]:
    parts = schema.get(word)
    return parts if isinstance(parts, list) else []


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and (schema.get("type") in ("null", ["null"]) or schema.get("enum") == [None])


def _implied(schema: Mapping[str, Any]) -> list[str]:
    """The type of a schema that names none."""
    if isinstance(schema.get("properties"), Mapping):
        return ["object"]
    if "items" in schema:
        return ["array"]
    listed = schema.get("enum")
    values = [value for value in (listed if isinstance(listed, list) else [schema.get("const")]) if value is not None]
    names: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    found = list(dict.fromkeys(names[type(value)] for value in values if type(value) in names))
    return found or (["string"] if schema.get("format") in (*_FORMATS, "uuid", "email", "uri") else [])
