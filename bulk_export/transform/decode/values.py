"""Which JSON values fit which column, and where the others go.

`fit` divides a value into what its column takes and an overlay for `_extra`. The two together give the value back:
docs/schema.md has the rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from bulk_export.core.model import Field, FieldType, Kind, ListOf
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.lossless_json import Number, RepeatedKeys, is_encodable

# Members of an overlay that are no attributes begin with a slash; an attribute that does has it doubled.
RESERVED = "/"
# Values that a later one of the same key replaced.
OVERRIDDEN = "/overridden"
# Members of the record beside its attributes.
RECORD = "/record"
# A record that is nested too deeply to be taken apart.
UNSPLIT = "/whole"

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SIGNIFICANT_DIGIT = re.compile(r"-?[0.]*[1-9]", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DATE = date(1970, 1, 1)
INT64 = range(-(2**63), 2**63)
_MOST_DIGITS = 40
# Looked up far more often than the others.
_STRING = Kind.STRING


class _Nothing:
    """The overlay of a value that its column takes completely; None is the overlay of a null."""

    __slots__ = ()


NOTHING = _Nothing()


def fit(declared: FieldType, value: Any, path: str, drift: Drift) -> tuple[Any, Any]:
    """Divide a value into what its column takes and an overlay for `_extra`.

    Args:
        declared: The type of the column.
        value: A value of `lossless_json.loads`.
        path: The dotted path of the value, under which misfits and unknown members are counted.
        drift: Where they are counted.

    Returns:
        The value for the column (timestamps in microseconds since 1970 in UTC, dates in days since 1970), and the
        overlay: NOTHING if the column takes all of the value.
    """
    if value is None:
        return None, NOTHING
    if isinstance(declared, Kind):
        fitted = _string(value) if declared is _STRING else _SCALARS[declared](value)
        if fitted is not None:
            return fitted, NOTHING
    elif isinstance(declared, ListOf):
        if isinstance(value, list):
            return _fit_list(declared, value, path, drift)
    elif isinstance(value, dict):
        return fit_members(declared.fields, value, path, drift)
    drift.misfits[path] += 1
    return None, value


def fit_members(
    fields: Sequence[Field], members: dict[str, Any], path: str, drift: Drift
) -> tuple[dict[str, Any], Any]:
    """Divide the members of an object as `fit` does. Members without a field go to the overlay as they are."""
    overlay: dict[str, Any] = {}
    taken: dict[str, Any] = {}
    prefix = f"{path}." if path else ""
    for field in fields:
        name = field.name
        value = members.get(name)
        if value is None:
            taken[name] = None
            if name not in members:
                drift.missing[prefix + name] += 1
            continue
        taken[name], rest = fit(field.type, value, prefix + name, drift)
        if rest is not NOTHING:
            overlay[overlay_name(name)] = rest
    if unknown := members.keys() - taken.keys():
        # Sorted, so that the fast and the exact path give the same bytes.
        for name in sorted(unknown):
            drift.unknown[prefix + name] += 1
            overlay[overlay_name(name)] = members[name]
    if isinstance(members, RepeatedKeys):
        earlier = members.overridden()
        for name in earlier:
            drift.duplicate_keys[prefix + name] += 1
        overlay[OVERRIDDEN] = earlier
    return taken, overlay or NOTHING


def overlay_name(name: str) -> str:
    """The key of an attribute in an overlay: its name, with a leading slash doubled."""
    return RESERVED + name if name.startswith(RESERVED) else name


def _fit_list(declared: ListOf, elements: list[Any], path: str, drift: Drift) -> tuple[list[Any], Any]:
    fitted = []
    overlay = {}
    for position, element in enumerate(elements):
        taken, rest = fit(declared.item, element, path, drift)
        fitted.append(taken)
        if rest is not NOTHING:
            overlay[str(position)] = rest
    return fitted, overlay or NOTHING


def parse_timestamp(text: Any) -> int | None:
    """Microseconds since 1970 in UTC for an RFC 3339 time with a zone, or for a date (its first moment in UTC).

    None for anything else: a time without a zone, with non-zero digits beyond microseconds, or outside of the years 1
    to 9999.
    """
    if not isinstance(text, str) or isinstance(text, Number):
        return None
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        days = parse_date(text) if len(text) == 10 else None
        return None if days is None else days * 86_400_000_000
    *parts, fraction, zulu, sign, hours, minutes = match.groups()
    fraction = fraction or ""
    if fraction[6:].strip("0"):
        return None
    offset = timedelta(0)
    if not zulu:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if int(minutes) > 59 or offset >= timedelta(days=1):
            return None
    try:
        zone = timezone(offset if sign != "-" else -offset)
        year, month, date_, hour, minute, second = map(int, parts)
        microsecond = int(fraction[:6].ljust(6, "0"))
        moment = datetime(year, month, date_, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1)


def parse_date(text: Any) -> int | None:
    """Days since 1970 for YYYY-MM-DD, or for a time at midnight that is written in UTC; else None."""
    if not isinstance(text, str) or isinstance(text, Number):
        return None
    if _DATE.fullmatch(text):
        try:
            return (date.fromisoformat(text) - _FIRST_DATE).days
        except ValueError:
            return None
    match = _TIMESTAMP.fullmatch(text)
    if match is None or not (match[8] or (match[10], match[11]) == ("00", "00")):
        return None
    moment = parse_timestamp(text)
    return None if moment is None or moment % 86_400_000_000 else moment // 86_400_000_000


def _string(value: Any) -> str | None:
    return value if type(value) is str and is_encodable(value) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    if not isinstance(value, Number) or len(value) > _MOST_DIGITS or not value.lstrip("-").isdigit():
        return None
    integer = int(value)
    return integer if integer in INT64 and str(integer) == value else None


def parse_number(value: Any) -> float | None:
    """The double whose shortest decimal text has the value that was sent; None if there is none."""
    if not isinstance(value, Number) or len(value) > _MOST_DIGITS:
        return None
    double = float(value)
    if repr(double) == value:
        return double
    # What is too small for any double would be too small for a Decimal as well.
    if math.isinf(double) or (double == 0 and _SIGNIFICANT_DIGIT.match(value)):
        return None
    if double == 0:
        return double
    return double if Decimal(repr(double)) == Decimal(value) else None


_SCALARS = {
    Kind.STRING: _string,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.NUMBER: parse_number,
    Kind.TIMESTAMP: parse_timestamp,
    Kind.DATE: parse_date,
}
