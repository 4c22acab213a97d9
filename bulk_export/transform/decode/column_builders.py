"""Arrow columns from what msgspec decoded, a block of rows at a time.

Each builder stands for one path in a record. Besides the column it returns the size of its values as compact JSON text
without escapes. `fast_path` compares the sum of all sizes with the length of the bodies, to prove that they held
nothing else. Per type, a value that was sent has the size

- of a string: its UTF-8 bytes and 2 quotes; of an integer: its digits; of a boolean: 4 or 5; of a null: 4;
- of a list: its elements, a comma between two, and 2 brackets;
- of an object: 1, and for each member its value, and its key with 2 quotes, colon, and comma (or closing brace);
- of a member that was not sent (UNSET): nothing, and its key is not counted.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.core.model import FieldType, Kind
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.timestamps import parse_usual_dates, parse_usual_timestamps
from bulk_export.transform.decode.values import NOTHING, fit, overlay_name

_UNSET = msgspec.UNSET
_ABSENT = msgspec.Raw(b"")
_NULL_SIZE = len(b"null")
_QUOTES_COLON_COMMA = 4
# Values nested more deeply are left to the exact path, which has a rule for them.
_MAX_DEPTH = 100
_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class NotAsDescribed(Exception):
    """A page holds something that only the exact path can keep."""


@dataclass(frozen=True, slots=True)
class BuiltColumn:
    """The values of one path in all rows.

    Attributes:
        array: The column; None for a path without one.
        size: The size of the values as JSON text.
        unset: How many rows have no such member.
        overlays: By row, the JSON text of what the column did not take.
    """

    array: pa.Array | None
    size: int
    unset: int = 0
    overlays: Mapping[int, str] = field(default_factory=dict)


class ColumnBuilder(Protocol):
    """Builds the column of one path in a record.

    Attributes:
        annotation, default: The type and default with which msgspec decodes the member.
        filler: The size that is counted for a None which stands in for a member of an object that is null or absent.
    """

    annotation: Any
    default: Any
    filler: int

    def gather(self, values: Sequence[Any]) -> Any:
        """Keep what is needed of the values of one page, while they are in the processor's cache."""

    def build(self, pages: Sequence[Any], drift: Drift) -> BuiltColumn:
        """Build a column from what was gathered from some pages. Raises NotAsDescribed."""


class ScalarColumn:
    """Strings, booleans and integers."""

    default: Any = _UNSET
    filler = _NULL_SIZE

    def __init__(self, kind: Kind) -> None:
        python_type: Any = {Kind.BOOLEAN: bool, Kind.INTEGER: _INT64}.get(kind, str)
        self.annotation = python_type | None | msgspec.UnsetType
        self._kind = kind
        self._arrow_type = schema.arrow_type(kind)

    def gather(self, values: Sequence[Any]) -> tuple[pa.Array, int]:
        """The values as a column, and how many are unset."""
        return _array(values, self._arrow_type)

    def build(self, pages: Sequence[tuple[pa.Array, int]], drift: Drift) -> BuiltColumn:
        """Join the columns of the pages."""
        array, unset = _joined(pages, self._arrow_type)
        given = len(array) - array.null_count
        if self._kind is Kind.BOOLEAN:
            size = given * len("false") - (array.true_count if given else 0)
        elif self._kind is Kind.INTEGER:
            size = text_size(array.cast(pa.string()))
        else:
            size = text_size(array) + 2 * given
        return BuiltColumn(array, size + _NULL_SIZE * (array.null_count - unset), unset)


class TimestampColumn:
    """Timestamps and dates, sent as strings. A block with a value in an unusual form is parsed value by value."""

    default: Any = _UNSET
    filler = _NULL_SIZE
    annotation: Any = str | None | msgspec.UnsetType

    def __init__(self, kind: Kind, path: str) -> None:
        self._kind = kind
        self._path = path

    def gather(self, values: Sequence[Any]) -> tuple[pa.Array, int]:
        """The texts as a column, and how many are unset."""
        return _array(values, pa.string())

    def build(self, pages: Sequence[tuple[pa.Array, int]], drift: Drift) -> BuiltColumn:
        """Parse the texts; those that are no timestamp or date become overlays."""
        texts, unset = _joined(pages, pa.string())
        size = text_size(texts) + 2 * (len(texts) - texts.null_count) + _NULL_SIZE * (texts.null_count - unset)
        column = parse_usual_timestamps(texts) if self._kind is Kind.TIMESTAMP else parse_usual_dates(texts)
        if column is not None:
            return BuiltColumn(column, size, unset)
        taken, overlays = [], {}
        for row, text in enumerate(texts.to_pylist()):
            value, overlay = fit(self._kind, text, self._path, drift)
            taken.append(value)
            if overlay is not NOTHING:
                overlays[row] = lossless_json.dumps(overlay)
        return BuiltColumn(pa.array(taken, schema.arrow_type(self._kind)), size, unset, overlays)


class AnyColumn:
    """Values of any type, each fitted by itself. Without a declared type there is no column, but only overlays."""

    default: Any = _ABSENT
    filler = 0
    annotation: Any = msgspec.Raw

    def __init__(self, declared: FieldType | None, path: str, redact: Callable[[bytes], bytes] | None) -> None:
        self._declared = declared
        self._path = path
        self._redact = redact

    def gather(self, values: Sequence[Any]) -> list[bytes | None]:
        """The JSON texts; empty for an unset member, None for a member of an object that is null or absent."""
        return [None if raw is None else bytes(raw) for raw in values]

    def build(self, pages: Sequence[list[bytes | None]], drift: Drift) -> BuiltColumn:
        """Fit each value; what the column does not take becomes an overlay."""
        values = list(itertools.chain.from_iterable(pages))
        taken: list[Any] = []
        overlays: dict[int, str] = {}
        for row, text in enumerate(values):
            value, overlay = self._fit(text, drift) if text else (None, NOTHING)
            taken.append(value)
            if overlay is not NOTHING:
                overlays[row] = lossless_json.dumps(overlay)
        array = None if self._declared is None else pa.array(taken, schema.arrow_type(self._declared))
        return BuiltColumn(array, _size_of_texts(values), values.count(b""), overlays)

    def _fit(self, text: bytes, drift: Drift) -> tuple[Any, Any]:
        if lossless_json.nested_deeper_than(_MAX_DEPTH, text):
            raise NotAsDescribed
        value = lossless_json.loads(text if self._redact is None else self._redact(text))
        if self._declared is None:
            drift.unknown[self._path] += 1
            return None, value
        return fit(self._declared, value, self._path, drift)


class IgnoredColumn:
    """A member that is dropped: only its size matters."""

    default: Any = _ABSENT
    filler = 0
    annotation: Any = msgspec.Raw

    def gather(self, values: Sequence[Any]) -> list[bytes | None]:
        """The JSON texts; empty for an unset member, None for a member of an object that is null or absent."""
        return [None if raw is None else bytes(raw) for raw in values]

    def build(self, pages: Sequence[list[bytes | None]], drift: Drift) -> BuiltColumn:
        """No column."""
        values = list(itertools.chain.from_iterable(pages))
        return BuiltColumn(None, _size_of_texts(values), values.count(b""))


class ListColumn:
    """Lists."""

    default: Any = _UNSET
    filler = _NULL_SIZE

    def __init__(self, item: ColumnBuilder, arrow_type: pa.DataType) -> None:
        self.annotation = list[item.annotation] | None | msgspec.UnsetType  # type: ignore[name-defined]  # made at run time
        self._item = item
        self._arrow_type = arrow_type

    def gather(self, values: Sequence[Any]) -> Sequence[Any]:
        """The lists themselves."""
        return values

    def build(self, pages: Sequence[Sequence[Any]], drift: Drift) -> BuiltColumn:
        """A column of lists."""
        values = list(itertools.chain.from_iterable(pages))
        offsets = [0, *itertools.accumulate([len(value) if value else 0 for value in values])]
        elements = [element for value in values if value for element in value]
        item = self._item.build([self._item.gather(elements)], drift)
        absent = [value is None or value is _UNSET for value in values]
        array = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), item.array, type=self._arrow_type, mask=pa.array(absent, pa.bool_())
        )
        missing = absent.count(True)
        unset = sum(value is _UNSET for value in values) if missing else 0
        commas = len(elements) - sum(map(bool, values))
        size = item.size + commas + 2 * (len(values) - missing) + _NULL_SIZE * (missing - unset)
        return BuiltColumn(array, size, unset, _by_position(item.overlays, offsets) if item.overlays else {})


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object. One that is `described` has a column, and is counted as missing if it is absent."""

    name: str
    path: str
    builder: ColumnBuilder
    described: bool

    @property
    def size(self) -> int:
        """The size of its key, with quotes, colon and comma."""
        return len(self.name.encode()) + _QUOTES_COLON_COMMA


class StructColumn:
    """Objects with members that are known by name; those without a column come last, sorted by name."""

    default: Any = _UNSET
    filler = _NULL_SIZE

    def __init__(self, members: Sequence[Member], arrow_type: pa.DataType) -> None:
        if not any(member.described for member in members):
            raise NotAsDescribed
        self.type = msgspec.defstruct(
            "Members",
            [(f"f{index}", member.builder.annotation, member.builder.default) for index, member in enumerate(members)],
            rename={f"f{index}": member.name for index, member in enumerate(members)},
            forbid_unknown_fields=True,
            gc=False,
        )
        self.annotation = self.type | None | msgspec.UnsetType
        self._members = members
        self._arrow_type = arrow_type
        self._blank = (None,) * len(members)

    def gather(self, values: Sequence[Any]) -> Sequence[Any]:
        """The objects themselves."""
        return values

    def build(self, pages: Sequence[Sequence[Any]], drift: Drift) -> BuiltColumn:
        """A column of structs."""
        values = list(itertools.chain.from_iterable(pages))
        absent = [value is None or value is _UNSET for value in values]
        missing = absent.count(True)
        unset = sum(value is _UNSET for value in values) if missing else 0
        arrays, size, overlays = self.arrays([self.gather_members(values)], len(values), drift, fillers=missing)
        array = pa.StructArray.from_arrays(
            arrays, fields=list(self._arrow_type), mask=pa.array(absent, pa.bool_()) if missing else None
        )
        return BuiltColumn(array, size + _NULL_SIZE * (missing - unset), unset, overlays)

    def gather_members(self, values: Sequence[Any]) -> list[Any]:
        """Let each member gather from the objects of a page; from a null or absent object, None."""
        rows = [msgspec.structs.astuple(value) if value else self._blank for value in values]
        columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(self._members)
        return [member.builder.gather(column) for member, column in zip(self._members, columns, strict=True)]

    def arrays(
        self, pages: Sequence[list[Any]], rows: int, drift: Drift, *, fillers: int = 0
    ) -> tuple[list[pa.Array], int, dict[int, str]]:
        """Build the columns of the members.

        Args:
            pages: What `gather_members` returned for each page.
            rows: How many rows there are.
            drift: Where missing members are counted.
            fillers: How many of the rows have no object.

        Returns:
            The columns of the members that have one, the size of all members, and overlays by row.
        """
        arrays = []
        size = rows - fillers
        fragments: dict[int, list[str]] = {}
        each_lacks_some = True
        for index, member in enumerate(self._members):
            built = member.builder.build([page[index] for page in pages], drift)
            size += built.size + (rows - built.unset) * member.size - fillers * (member.size + member.builder.filler)
            if member.described:
                arrays.append(built.array)
                each_lacks_some = each_lacks_some and built.unset > 0
                if built.unset:
                    drift.missing[member.path] += built.unset
            for row, text in built.overlays.items():
                fragments.setdefault(row, []).append(f'"{overlay_name(member.name)}":{text}')
        if rows and each_lacks_some:
            # There may be an object without members: it has size 2, and this count gives it size 1.
            raise NotAsDescribed
        return arrays, size, {row: "{" + ",".join(texts) + "}" for row, texts in fragments.items()}


def _array(values: Sequence[Any], arrow_type: pa.DataType) -> tuple[pa.Array, int]:
    """A column of the values, and how many of them are unset."""
    try:
        return pa.array(values, arrow_type), 0
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        given = [None if value is _UNSET else value for value in values]
        return pa.array(given, arrow_type), sum(value is _UNSET for value in values)


def _joined(pages: Sequence[tuple[pa.Array, int]], arrow_type: pa.DataType) -> tuple[pa.Array, int]:
    arrays = [array for array, _ in pages]
    return pa.concat_arrays(arrays) if arrays else pa.nulls(0, arrow_type), sum(unset for _, unset in pages)


def _size_of_texts(texts: Sequence[bytes | None]) -> int:
    joined = b"".join(filter(None, texts))
    return len(joined) - lossless_json.escape_overhead(joined)


def text_size(texts: pa.Array) -> int:
    """Bytes of all strings of a column together."""
    size: int | None = pc.sum(pc.binary_length(texts)).as_py()
    return size or 0


def _by_position(overlays: Mapping[int, str], offsets: Sequence[int]) -> dict[int, str]:
    """Overlays of elements, put together by list under the position of each in its list."""
    fragments: dict[int, list[str]] = {}
    for element, text in sorted(overlays.items()):
        row = bisect.bisect_right(offsets, element) - 1
        fragments.setdefault(row, []).append(f'"{element - offsets[row]}":{text}')
    return {row: "{" + ",".join(texts) + "}" for row, texts in fragments.items()}
