"""Names and versions from paths and titles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_VERSION = re.compile(r"v\d+(?:[._-]?\d+)*", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")


def named(path: str, version: Any) -> tuple[str, str]:
    """The version that a path belongs to, and the name of the endpoint."""
    parts = [part for part in path.split("/") if part]
    at = next((place for place, part in enumerate(parts) if _VERSION.fullmatch(part)), None)
    if at is not None:
        found, rest = parts[at].lower(), parts[at + 1 :]
    else:
        number = re.match(r"v?(\d+(?:\.\d+)*)", str(version or ""))
        found = f"v{number[1]}".removesuffix(".0").removesuffix(".0") if number else "v1"
        rest = parts[1:] if parts[:1] == ["api"] else parts
    return found.replace(".", "-"), slug("-".join(rest)) or "records"


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
