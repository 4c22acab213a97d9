"""Which lists belong to which version of a service, and how they are called there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bulk_export.services.openapi.listings import ExcludedListing, Listing
from bulk_export.services.openapi.naming import by_number, free, slug, version_of


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its lists by name, and those left out with the reason, by path."""

    name: str
    listings: dict[str, Listing] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def versions_of(found: Sequence[Listing | ExcludedListing], info_version: Any) -> list[Version]:
    """The versions of a service, the oldest first.

    A version has what its own paths offer, and the paths without a version. What it does not offer is taken from the
    newest version before it, so that the last version has everything: a list too many costs requests, one too few costs
    records.
    """
    named = {one.named.version for one in found if isinstance(one, Listing) and one.named.version is not None}
    names = sorted(named, key=by_number) or [version_of(info_version)]
    return [_version(name, _offered(found, names, place)) for place, name in enumerate(names)]


def _offered(
    found: Sequence[Listing | ExcludedListing], names: Sequence[str], place: int
) -> list[Listing | ExcludedListing]:
    """What no version has, and of each other list the newest of the versions up to that at a place."""
    newest: dict[tuple[str, ...], tuple[int, Listing | ExcludedListing]] = {}
    alone: list[Listing | ExcludedListing] = []
    for one in found:
        age = names.index(one.named.version) if one.named.version in names else None
        if age is None:
            alone.append(one)  # without a version, or left out of one of which nothing is described
        elif age <= place and age > newest.get(one.named.resource, (-1,))[0]:
            newest[one.named.resource] = (age, one)
    chosen = [one for _, one in newest.values()] + alone
    return [one for one in found if any(one is other for other in chosen)]


def _version(name: str, offered: Sequence[Listing | ExcludedListing]) -> Version:
    version = Version(name)
    as_json = {one.named.name for one in offered if isinstance(one, Listing) and one.format == "json"}
    # Lists of a version come first to their names.
    for one in sorted(offered, key=lambda other: other.named.version is None):
        if isinstance(one, ExcludedListing):
            version.left_out[one.path] = one.reason
            continue
        # `things.csv` is `things`, unless that is there as JSON.
        plain = one.named.name.removesuffix("-csv") if one.format == "csv" else one.named.name
        called = one.named.name if plain in as_json else plain
        if called in version.listings:
            called = slug("-".join(part for part in one.named.resource if part != "api")) or called
        version.listings[free(called, version.listings)] = one
    return version
