"""Filters and sort as a user gives them, checked against what the endpoints take before a request is spent."""

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
    """Filters by name, each of which every endpoint takes, with values of the type it takes. Raises UsageError.

    Times come out in UTC with `Z`, lists without white space.
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
                near = difflib.get_close_matches(key, endpoint.filters, n=1)
                hint = f"Did you mean {near[0]}? " if near else ""
                takes = ", ".join(endpoint.filters) or "none"
                raise UsageError(
                    f"{endpoint.name} does not take the filter {key!r}.",
                    next_step=f"{hint}It takes: {takes}. Name the endpoints that take it.",
                )
            checked[key] = _value(key, value, endpoint)
    return tuple(checked.items())


def with_required_filters(
    endpoints: Sequence[Endpoint], given: Sequence[tuple[str, str]], *, named: bool, by_time: bool = False
) -> tuple[Endpoint, ...]:
    """The endpoints that can be asked with these filters, and `by_time` with the one that selects by time of change.

    One that needs another filter gives nothing or an error without it. Raises UsageError where such a one was
    `named`; otherwise it is left out with a warning.
    """
    keys = {key for key, _ in given}
    lacking = {
        endpoint.name: (endpoint, missing)
        for endpoint in endpoints
        if (missing := set(endpoint.requires) - keys - ({endpoint.since} if by_time else set()))
    }
    kept = tuple(endpoint for endpoint in endpoints if endpoint.name not in lacking)
    for name, (endpoint, missing) in lacking.items():
        wanted = " ".join(
            "--updated-since …" if key == endpoint.since else f"--filter {key}=…" for key in sorted(missing)
        )
        if named or not kept:
            raise UsageError(f"{name} gives nothing without a filter.", next_step=f"Add {wanted}.")
        warnings.warn(
            f"{name} gives nothing without a filter and is left out; export it with {wanted}", UserWarning, stacklevel=4
        )
    return kept


def lacking_filters(endpoints: Sequence[Endpoint], kept: Sequence[Endpoint]) -> tuple[tuple[str, str], ...]:
    """The endpoints that `with_required_filters` did not keep, each with the reason."""
    names = {endpoint.name for endpoint in kept}
    return tuple(
        (endpoint.name, f"gives nothing without {' and '.join(endpoint.requires)}")
        for endpoint in endpoints
        if endpoint.name not in names
    )


def since_value(endpoint: Endpoint, moment: datetime) -> str:
    """A time as the filter of an endpoint that selects by it takes one: where that takes days, the day it is on."""
    kind = dict(endpoint.filter_types).get(endpoint.since or "")
    return moment.astimezone(UTC).date().isoformat() if kind == "date" else format_instant(moment)


def with_sort(endpoints: Sequence[Endpoint], sort: str | None) -> tuple[Endpoint, ...]:
    """The endpoints with a chosen sort in place of their own. Raises UsageError where one does not take it.

    Where an endpoint's own sort shows that it takes several keys, `id` becomes the last one, so that no two rows are
    tied; whether that leaves no ties is as sure as it is of its own sort. Elsewhere ties are open, unless the first
    key is the id, or several keys with the id are published as one value.
    """
    return tuple(endpoints) if sort is None else tuple(_sorted(endpoint, sort) for endpoint in endpoints)


def _sorted(endpoint: Endpoint, sort: str) -> Endpoint:
    keys = [part.strip() for part in sort.split(",")]
    for key in () if sort in endpoint.sorts else keys:
        if key not in endpoint.sorts:
            near = difflib.get_close_matches(key, endpoint.sorts, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            takes = f"It sorts by: {', '.join(endpoint.sorts)}" if endpoint.sorts else "It takes no sort"
            raise UsageError(
                f"{endpoint.name} cannot be sorted by {key!r}.",
                next_step=f"{hint}{takes}. Name the endpoints that take it.",
            )
    if len({key.lstrip("-+") for key in keys}) < len(keys):
        raise UsageError("An attribute stands twice in --sort.", next_step="Name each once.")
    takes_several = endpoint.sort is not None and "," in endpoint.sort
    total = _has_id(keys[:1]) or (sort in endpoint.sorts and _has_id(keys))
    if takes_several:
        keys += [] if _has_id(keys) else ["id"]
        total = total or endpoint.order_is_total
    names = {field.name for field in endpoint.fields} | {"id"}
    # Only creation is known to be shown as it is sorted by: an update may be one of a linked record.
    known = keys[0] == "created_at" and all(key in names for key in keys)
    return dataclasses.replace(endpoint, sort=",".join(keys), order=tuple(keys) if known else (), order_is_total=total)


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


def _value(key: str, value: str, endpoint: Endpoint) -> str:
    if not value:
        raise UsageError(f"The filter {key} has no value.", next_step=f"Write it as {key}=VALUE, or leave it out.")
    kind = dict(endpoint.filter_types).get(key, "timestamp" if key.endswith("_since") else "string")
    if kind == "timestamp":
        return format_instant(parse_instant(value))
    if words := dict(endpoint.filter_values).get(key):
        return _one_of(key, value, words, endpoint, several=kind == "strings")
    if kind not in _CHECKS:
        return value
    accepts, wanted = _CHECKS[kind]
    parts = [part.strip() for part in value.split(",")] if kind in ("years", "uuids") else [value]
    for part in parts:
        if not accepts(part):
            raise UsageError(
                f"The filter {key} of {endpoint.name} does not take {part!r}.", next_step=f"Give {wanted}."
            )
    return ",".join(parts)


def _one_of(key: str, value: str, words: Sequence[str], endpoint: Endpoint, *, several: bool) -> str:
    parts = [part.strip() for part in value.split(",")] if several else [value]
    for part in parts:
        if part not in words:
            near = difflib.get_close_matches(part, words, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"The filter {key} of {endpoint.name} does not take {part!r}.",
                next_step=f"{hint}It takes: {', '.join(words)}.",
            )
    return ",".join(parts)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


_CHECKS: dict[str, tuple[Callable[[str], object], str]] = {
    "years": (_YEAR.fullmatch, "years, like 2023 or 2022,2023"),
    "uuids": (_UUID.fullmatch, "UUIDs, separated by commas"),
    "date": (_is_date, "a date, like 2023-09-01"),
    "integer": (_INTEGER.fullmatch, "a whole number"),
    "boolean": (("true", "false").__contains__, "true or false"),
}
