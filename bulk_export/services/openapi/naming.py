"""Names and versions from paths and titles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_VERSION = re.compile(r"v\d+(?:[._-]?\d+)*", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class PathName:
    """What a path says of an endpoint: its name, and the version it belongs to, None where it names none.

    Paths that differ in their version only have the same `resource`.
    """

    name: str
    version: str | None
    resource: tuple[str, ...]


def named(path: str) -> PathName:
    """The name and version of the endpoint at a path."""
    parts = [part for part in path.split("/") if part]
    at = next((place for place, part in enumerate(parts) if _VERSION.fullmatch(part)), None)
    if at is None:
        rest = parts[1:] if parts[:1] == ["api"] else parts
        return PathName(slug("-".join(rest)) or "records", None, tuple(parts))
    before, rest = parts[:at], parts[at + 1 :]
    return PathName(slug("-".join(rest)) or "records", _as_version(parts[at]), (*before, *rest))


def version_of(info_version: Any) -> str:
    """The version that a document says it describes, v1 where it says none."""
    number = re.match(r"v?(\d+(?:\.\d+)*)", str(info_version or ""))
    return _as_version(f"v{number[1]}".removesuffix(".0").removesuffix(".0")) if number else "v1"


def by_number(version: str) -> list[int]:
    """What versions are ordered by."""
    return [int(digits) for digits in re.findall(r"\d{1,9}", version)]


def _as_version(text: str) -> str:
    return text.lower().replace(".", "-")


def slug(text: str) -> str:
    """A text as a name of lower-case letters, digits, - and _; empty where it holds none."""
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-_")[:80]


def free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, or the first of `name-2`, `name-3`, … that is not taken."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
