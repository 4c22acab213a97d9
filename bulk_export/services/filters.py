"""The filters and the sort that a user gives, checked against the endpoints before any request is sent."""

from __future__ import annotations

import dataclasses
import difflib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime

from bulk_export.core.model import Endpoint
from bulk_export.core.units import format_instant, parse_instant
from bulk_export.errors import UsageError

_YEAR = re.compile(r"(?:19|20)\d\d[a-z]?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


def read_filters(
    given: Sequence[str] | Mapping[str, str], endpoints: Sequence[Endpoint]
) -> tuple[tuple[str, str], ...]:
    """Check filters, and return them by name with their values as the service takes them.

    Instants are converted to UTC with `Z`; white space is removed from lists.

    Args:
        given: Filters as `KEY=VALUE`, or by key.
        endpoints: The endpoints, each of which must take every filter.

    Raises:
        UsageError: If a filter is malformed, given twice, or not taken by an endpoint.
    """
    pairs = _pairs(given)
    checked: dict[str, str] = {}
    for key, value in pairs:
        if [other for other, _ in pairs].count(key) > 1:
            raise UsageError(
                f"The filter {key} is given twice.", next_step="Separate several values of one filter by commas."
            )
        for endpoint in endpoints:
            if key not in endpoint.filters:
                takes = ", ".join(endpoint.filters) or "none"
                raise UsageError(
                    f"{endpoint.name} does not take the filter {key!r}.",
                    next_step=f"{_hint(key, endpoint.filters)}It takes: {takes}. Name the endpoints that take it.",
                )
            checked[key] = _checked_value(key, value, endpoint)
    return tuple(checked.items())


def with_required_filters(
    endpoints: Sequence[Endpoint], given: Sequence[tuple[str, str]], *, named: bool, by_time: bool = False
) -> tuple[Endpoint, ...]:
    """Return the endpoints whose required filters are given. Warn of the others.

    Args:
        endpoints: The endpoints.
        given: The filters.
        named: Whether the user named the endpoints.
        by_time: Whether the filter for the time of change is given, too.

    Raises:
        UsageError: If a named endpoint lacks a filter, or every endpoint does.
    """
    keys = {key for key, _ in given}
    missing_filters = {
        endpoint.name: (endpoint, missing)
        for endpoint in endpoints
        if (missing := set(endpoint.requires) - keys - ({endpoint.since} if by_time else set()))
    }
    kept = tuple(endpoint for endpoint in endpoints if endpoint.name not in missing_filters)
    for name, (endpoint, missing) in missing_filters.items():
        options = " ".join(
            "--updated-since …" if key == endpoint.since else f"--filter {key}=…" for key in sorted(missing)
        )
        if named or not kept:
            raise UsageError(f"{name} returns no records without a filter.", next_step=f"Add {options}.")
        warnings.warn(
            f"{name} returns no records without a filter and is left out; export it with {options}",
            UserWarning,
            stacklevel=4,
        )
    return kept


def lacking_filters(endpoints: Sequence[Endpoint], kept: Sequence[Endpoint]) -> tuple[tuple[str, str], ...]:
    """Return the endpoints that `with_required_filters` did not keep, each with the reason."""
    names = {endpoint.name for endpoint in kept}
    return tuple(
        (endpoint.name, f"returns no records without {' and '.join(endpoint.requires)}")
        for endpoint in endpoints
        if endpoint.name not in names
    )


def since_value(endpoint: Endpoint, moment: datetime) -> str:
    """Return a time as the endpoint's filter for the time of change takes it: an instant or a date, both in UTC."""
    filter_type = dict(endpoint.filter_types).get(endpoint.since or "")
    return moment.astimezone(UTC).date().isoformat() if filter_type == "date" else format_instant(moment)


def with_sort(endpoints: Sequence[Endpoint], sort: str | None) -> tuple[Endpoint, ...]:
    """Return the endpoints with a chosen sort in place of their own; unchanged if it is None.

    1. The order is total if the first key is the id, or if the endpoint publishes the complete value and it has the id.
    2. An endpoint whose own sort has several keys takes several: `id` is added as the last one. The order is then also
       total if the endpoint's own order is.

    Raises:
        UsageError: If an endpoint does not take the sort, or a key is given twice.
    """
    return tuple(endpoints) if sort is None else tuple(_sorted(endpoint, sort) for endpoint in endpoints)


def _sorted(endpoint: Endpoint, sort: str) -> Endpoint:
    keys = [part.strip() for part in sort.split(",")]
    for key in () if sort in endpoint.sorts else keys:
        if key not in endpoint.sorts:
            takes = f"It sorts by: {', '.join(endpoint.sorts)}" if endpoint.sorts else "It takes no sort"
            raise UsageError(
                f"{endpoint.name} cannot be sorted by {key!r}.",
                next_step=f"{_hint(key, endpoint.sorts)}{takes}. Name the endpoints that take it.",
            )
    if len({key.lstrip("-+") for key in keys}) < len(keys):
        raise UsageError("--sort has an attribute twice.", next_step="Name each once.")
    takes_several = endpoint.sort is not None and "," in endpoint.sort
    is_total = _has_id(keys[:1]) or (sort in endpoint.sorts and _has_id(keys))
    if takes_several:
        keys += [] if _has_id(keys) else ["id"]
        is_total = is_total or endpoint.order_is_total
    names = {field.name for field in endpoint.fields} | {"id"}
    # Of times, only `created_at` is certainly what the service sorts by: `updated_at` may be that of a linked record.
    is_order_shown = keys[0] == "created_at" and all(key in names for key in keys)
    return dataclasses.replace(
        endpoint, sort=",".join(keys), order=tuple(keys) if is_order_shown else (), order_is_total=is_total
    )


def _has_id(keys: Sequence[str]) -> bool:
    return any(key.lstrip("-+") == "id" for key in keys)


def _pairs(given: Sequence[str] | Mapping[str, str]) -> list[tuple[str, str]]:
    if isinstance(given, Mapping):
        return [(str(key), str(value).strip()) for key, value in given.items()]
    pairs = []
    for text in [given] if isinstance(given, str) else given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{text!r} is not a filter.", next_step="Write it as KEY=VALUE, like cohort=2023.")
        pairs.append((key.strip(), value.strip()))
    return pairs


def _checked_value(key: str, value: str, endpoint: Endpoint) -> str:
    if not value:
        raise UsageError(f"The filter {key} has no value.", next_step=f"Write it as {key}=VALUE, or leave it out.")
    filter_type = dict(endpoint.filter_types).get(key, "timestamp" if key.endswith("_since") else "string")
    if filter_type == "timestamp":
        return format_instant(parse_instant(value))
    accepted = dict(endpoint.filter_values).get(key)
    if not accepted and filter_type not in _CHECKS:
        return value
    is_list = filter_type == "strings" if accepted else filter_type in ("years", "uuids")
    parts = [part.strip() for part in value.split(",")] if is_list else [value]
    for part in parts:
        if accepted and part not in accepted:
            advice = f"{_hint(part, accepted)}It takes: {', '.join(accepted)}."
        elif not accepted and not _CHECKS[filter_type][0](part):
            advice = f"Give {_CHECKS[filter_type][1]}."
        else:
            continue
        raise UsageError(f"The filter {key} of {endpoint.name} does not take {part!r}.", next_step=advice)
    return ",".join(parts)


def _hint(given: str, known: Sequence[str]) -> str:
    similar = difflib.get_close_matches(given, known, n=1)
    return f"Did you mean {similar[0]}? " if similar else ""


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


# Accepts a value or an element of a list, and what to give, by filter type.
_CHECKS: dict[str, tuple[Callable[[str], object], str]] = {
    "years": (_YEAR.fullmatch, "years, like 2023 or 2022,2023"),
    "uuids": (_UUID.fullmatch, "UUIDs, separated by commas"),
    "date": (_is_date, "a date, like 2023-09-01"),
    "integer": (_INTEGER.fullmatch, "a whole number"),
    "boolean": (("true", "false").__contains__, "true or false"),
}
