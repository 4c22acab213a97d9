"""Which lists belong to which version of a service, and how they are called there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bulk_export.openapi.listings import LeftOut, Listing
from bulk_export.openapi.names import by_number, free, slug, version_of


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its lists by name, and those left out with the reason, by path."""

    name: str
    listings: dict[str, Listing] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def versions_of(found: Sequence[Listing | LeftOut], info_version: Any) -> list[Version]:
    """The versions of a service, the oldest first.

    A version has what its own paths offer. What it does not offer is taken from the newest version before it, or from
    the paths without a version, so that the last version has everything: an older list too many costs requests, one
    too few costs records.
    """
    named = {one.named.version for one in found if isinstance(one, Listing) and one.named.version is not None}
    names = sorted(named, key=by_number) or [version_of(info_version)]
    return [_version(name, _offered(found, names[: place + 1])) for place, name in enumerate(names)]


def _offered(found: Sequence[Listing | LeftOut], names: Sequence[str]) -> list[Listing | LeftOut]:
    """Of each list, the newest that one of some versions, in their order, or no version names."""
    newest: dict[tuple[str, ...], tuple[int, Listing | LeftOut]] = {}
    for one in found:
        version = one.named.version
        if version is not None and version not in names and isinstance(one, Listing):
            continue
        age = names.index(version) if version in names else -1
        known = newest.get(one.named.resource)
        if known is None or age > known[0]:
            newest[one.named.resource] = (age, one)
    return [one for one in found if newest.get(one.named.resource, (0, None))[1] is one]


def _version(name: str, offered: Sequence[Listing | LeftOut]) -> Version:
    version = Version(name)
    as_json = {one.named.name for one in offered if isinstance(one, Listing) and one.format == "json"}
    for one in offered:
        if isinstance(one, LeftOut):
            version.left_out[one.path] = one.reason
            continue
        # `things.csv` is `things`, unless that is there as JSON.
        plain = one.named.name.removesuffix("-csv") if one.format == "csv" else one.named.name
        called = one.named.name if plain in as_json else plain
        if called in version.listings:
            called = slug("-".join(part for part in one.named.resource if part != "api")) or called
        version.listings[free(called, version.listings)] = one
    return version
