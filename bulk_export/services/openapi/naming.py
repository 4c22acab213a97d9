"""Names and versions from paths and titles."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

_VERSION = re.compile(r"v\d+(?:[._-]?\d+)*", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class PathName:
    """What a path says about its endpoint.

    Attributes:
        name: The name of the endpoint.
        version: The version of the service it belongs to; None if the path has none.
        resource: The path without its version: the same for all versions of one list.
    """

    name: str
    version: str | None
    resource: tuple[str, ...]


def parse_path(path: str) -> PathName:
    """Return the name, version and resource of a path.

    >>> parse_path("/api/v3/participants/npq")
    PathName(name='participants-npq', version='v3', resource=('api', 'participants', 'npq'))
    """
    segments = [segment for segment in path.split("/") if segment]
    index = next((index for index, segment in enumerate(segments) if _VERSION.fullmatch(segment)), None)
    if index is None:
        named = segments[1:] if segments[:1] == ["api"] else segments
        return PathName(slug("-".join(named)) or "records", None, tuple(segments))
    named = segments[index + 1 :]
    return PathName(
        slug("-".join(named)) or "records", _normalized_version(segments[index]), (*segments[:index], *named)
    )


def version_from_info(info_version: Any) -> str:
    """Return the version that the `info` of a document states; v1 if it states none."""
    number = re.match(r"v?(\d+(?:\.\d+)*)", str(info_version or ""))
    return _normalized_version(f"v{number[1]}".removesuffix(".0").removesuffix(".0")) if number else "v1"


def version_sort_key(version: str) -> list[int]:
    """Return the numbers in a version, so that v10 comes after v2."""
    return [int(digits) for digits in re.findall(r"\d{1,9}", version)]


def slug(text: str) -> str:
    """Return a text as a name of lower-case letters, digits, - and _; empty if it has none of them."""
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-_")[:_LONGEST_NAME]


def unused_name(name: str, used: Container[str]) -> str:
    """Return the name, or the first of `name-2`, `name-3`, … that is not in use."""
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _normalized_version(text: str) -> str:
    return text.lower().replace(".", "-")
