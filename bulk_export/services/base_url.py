"""Base URLs of services that users give with a part of the endpoints' paths, or without the service's own path."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from bulk_export.core.model import Service
from bulk_export.errors import UsageError

_VERSION = re.compile(r"v\d+(?:[._-]?\d+)*", re.IGNORECASE)


def normalize_base_url(service: Service, url: str) -> str:
    """Return the base URL that a user means, and warn if it is not the given one.

    1. The beginning of an environment's base URL stands for all of it.
    2. A beginning of the endpoints' paths at the end of the URL, like `/api/v3`, is removed.

    Raises:
        UsageError: If several environments begin with the URL, or it ends with the path of another version.
    """
    environments = {base_url.rstrip("/") for _, base_url in service.environments}
    meant = sorted(known for known in environments if known.startswith(f"{url}/") and url not in environments)
    if len(meant) == 1:
        _warn(f"the service is at {meant[0]}, which is used in place of {url}")
        return meant[0]
    if meant:
        raise UsageError(f"Several environments begin with {url}.", next_step=f"Give one of: {', '.join(meant)}.")
    _, slash, path = url.partition("://")[2].partition("/")
    if not slash:
        return url
    given = path.split("/")
    paths = [endpoint.path.strip("/").split("/") for endpoint in service]
    common = _common_beginning(paths)
    for length in range(len(given), 0, -1):
        end = given[-length:]
        # A single segment like `api` may be the path of a gateway, unless all paths begin with it.
        is_beginning = any(end == path[:length] and (_has_version(end) or end == path) for path in paths)
        if end == common or is_beginning:
            shortened = _without_end(url, end)
            _warn(f"the address ends with /{'/'.join(end)}, which is a part of the paths already: {shortened} is used")
            return shortened
    for segments in paths:
        for length in range(min(len(given), len(segments)), 0, -1):
            if _differ_in_version(given[-length:], segments[:length]):
                raise UsageError(
                    f"The address ends with /{'/'.join(given[-length:])}, but the paths of {service.name}"
                    f" {service.version} begin with /{'/'.join(segments[:length])}.",
                    next_step=f"Give {_without_end(url, given[-length:])}, and choose the version with --api-version.",
                )
    return url


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=6)


def _common_beginning(paths: Sequence[Sequence[str]]) -> list[str]:
    """Return the segments that all paths begin with, not counting the last one of any path."""
    common = []
    for segments in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(segments)) > 1:
            break
        common.append(segments[0])
    return common


def _has_version(segments: Sequence[str]) -> bool:
    return any(map(_VERSION.fullmatch, segments))


def _differ_in_version(given: Sequence[str], path: Sequence[str]) -> bool:
    different = [pair for pair in zip(given, path, strict=True) if pair[0] != pair[1]]
    return len(different) == 1 and all(map(_VERSION.fullmatch, different[0]))


def _without_end(url: str, end: Sequence[str]) -> str:
    return url.removesuffix(f"/{'/'.join(end)}")
