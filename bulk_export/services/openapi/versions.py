"""The lists of each version of a service, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bulk_export.services.openapi.listings import ExcludedListing, Listing
from bulk_export.services.openapi.naming import slug, unused_name, version_from_info, version_sort_key


@dataclass(frozen=True, slots=True)
class ServiceVersion:
    """One version of a service.

    Attributes:
        name: Its name, like `v3`.
        listings: Its lists by endpoint name.
        excluded: The reasons of lists that cannot be described, by path.
    """

    name: str
    listings: dict[str, Listing] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)


def group_by_version(found: Sequence[Listing | ExcludedListing], info_version: Any) -> list[ServiceVersion]:
    """Return the versions of a service, the oldest first.

    A version has the lists in its own paths, those in paths without a version, and each other list in its newest older
    version. So the last version has every list: one too many costs requests, one too few would cost records.
    """
    in_paths = {
        listing.name.version for listing in found if isinstance(listing, Listing) and listing.name.version is not None
    }
    versions = sorted(in_paths, key=version_sort_key) or [version_from_info(info_version)]
    return [
        _version(version, _lists_of(found, versions[: index + 1], versions)) for index, version in enumerate(versions)
    ]


def _lists_of(
    listings: Sequence[Listing | ExcludedListing], up_to: Sequence[str], versions: Sequence[str]
) -> list[Listing | ExcludedListing]:
    """Return the lists without a version, and the newest of each other list in the versions `up_to` one."""
    newest: dict[tuple[str, ...], Listing | ExcludedListing] = {}
    for version in up_to:
        own: dict[tuple[str, ...], Listing | ExcludedListing] = {}
        for listing in listings:
            if listing.name.version == version:
                own.setdefault(listing.name.resource, listing)
        newest |= own
    newest_ids = {id(listing) for listing in newest.values()}
    # A version all of whose lists are excluded is not among the versions.
    return [listing for listing in listings if listing.name.version not in versions or id(listing) in newest_ids]


def _version(name: str, lists: Sequence[Listing | ExcludedListing]) -> ServiceVersion:
    version = ServiceVersion(name)
    json_names = {listing.name.name for listing in lists if isinstance(listing, Listing) and listing.format == "json"}
    # Lists whose path has a version are named first.
    for listing in sorted(lists, key=lambda one: one.name.version is None):
        if isinstance(listing, ExcludedListing):
            version.excluded[listing.path] = listing.reason
            continue
        endpoint = listing.name.name
        # `things.csv` is called `things` unless there is a JSON list of that name.
        if listing.format == "csv" and endpoint.removesuffix("-csv") not in json_names:
            endpoint = endpoint.removesuffix("-csv")
        if endpoint in version.listings:
            endpoint = slug("-".join(part for part in listing.name.resource if part != "api")) or endpoint
        version.listings[unused_name(endpoint, version.listings)] = listing
    return version
