"""The address of a service, given with a part of the paths of its endpoints at the end, or without its own path."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from bulk_export.core.model import Service
from bulk_export.errors import UsageError

_VERSION = re.compile(r"v\d+(?:[._-]?\d+)*", re.IGNORECASE)


def without_paths(service: Service, url: str) -> str:
    """The address without what the paths of the endpoints begin with, as `/api/v3`. Warns where it is changed.

    The beginning of an environment's address stands for all of that. Raises UsageError where it is that of several, and
    where an address ends so for another version of the service.
    """
    places = {known.rstrip("/") for _, known in service.environments}
    meant = sorted(known for known in places if known.startswith(f"{url}/") and url not in places)
    if len(meant) == 1:
        _say(f"the service is at {meant[0]}, which is used in place of {url}")
        return meant[0]
    if meant:
        raise UsageError(f"{url} is where several environments are.", next_step=f"Give one of: {', '.join(meant)}.")
    _, slash, path = url.partition("://")[2].partition("/")
    if not slash:
        return url
    given = path.split("/")
    paths = [endpoint.path.strip("/").split("/") for endpoint in service]
    shared = _shared(paths)
    for length in range(len(given), 0, -1):
        end = given[-length:]
        # A single segment like `api` may be where a gateway has the service, unless all paths begin with it.
        if end == shared or any(end == one[:length] and (_has_version(end) or end == one) for one in paths):
            shortened = _shortened(url, end)
            _say(f"the address ends with /{'/'.join(end)}, which is a part of the paths already: {shortened} is used")
            return shortened
    for one in paths:
        for length in range(min(len(given), len(one)), 0, -1):
            if _differ_in_version(given[-length:], one[:length]):
                raise UsageError(
                    f"The address ends with /{'/'.join(given[-length:])}, but the paths of {service.name}"
                    f" {service.version} begin with /{'/'.join(one[:length])}.",
                    next_step=f"Give {_shortened(url, given[-length:])}, and choose the version with --api-version.",
                )
    return url


def _say(what: str) -> None:
    warnings.warn(what, UserWarning, stacklevel=6)


def _shared(paths: Sequence[Sequence[str]]) -> list[str]:
    """The segments that all paths begin with, without the last one of any."""
    shared = []
    for segments in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(segments)) > 1:
            break
        shared.append(segments[0])
    return shared


def _has_version(segments: Sequence[str]) -> bool:
    return any(map(_VERSION.fullmatch, segments))


def _differ_in_version(given: Sequence[str], path: Sequence[str]) -> bool:
    unlike = [(one, other) for one, other in zip(given, path, strict=True) if one != other]
    return len(unlike) == 1 and all(map(_VERSION.fullmatch, unlike[0]))


def _shortened(url: str, end: Sequence[str]) -> str:
    return url.removesuffix(f"/{'/'.join(end)}")
