"""The compiled way from bytes to columns, for pages that are as described; it declines every other page.

`kernel/kernel.c` says what it takes and what it declines. The interpreter is free for other threads while it runs.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import pyarrow as pa

from bulk_export.core.kernel_library import Kernel, load_kernel
from bulk_export.core.model import Endpoint, FieldType, Kind, ListOf, Struct
from bulk_export.transform import schema
from bulk_export.transform.decode.description_node import (
    DROPPED,
    KINDS,
    LIST,
    LONGEST_NAME,
    OBJECT,
    PSEUDONYM,
    REDACTED,
    UNDESCRIBED,
    written_node,
)
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.scanned_page import HashedIds
from bulk_export.transform.decode.values import RECORD
from bulk_export.transform.redaction import Redaction, RedactionAction, Rule, Rules

_MOST_UNKNOWN = 64


class _ArrowArray(ctypes.Structure):
    """The Arrow C data interface: five counts and five pointers."""

    _fields_ = [("counts", ctypes.c_int64 * 5), ("pointers", ctypes.c_void_p * 5)]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


@dataclass(frozen=True, slots=True)
class _Exported:
    """An array that the kernel made, as the Arrow PyCapsule interface hands it over."""

    array: _ArrowArray
    type: pa.DataType

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        capsule = _new_capsule(ctypes.addressof(self.array), b"arrow_array", None)
        return self.type.__arrow_c_schema__(), capsule


def _taken_over(array: _ArrowArray, declared: pa.DataType) -> pa.Array:
    """The array, of which Arrow has the memory from now on."""
    return pa.array(_Exported(array, declared))


class _UnknownName(ctypes.Structure):
    _fields_ = [
        ("parent", ctypes.c_int32),
        ("name_size", ctypes.c_int32),
        ("count", ctypes.c_int64),
        ("count_before", ctypes.c_int64),
        ("name", ctypes.c_uint8 * LONGEST_NAME),
    ]


@dataclass(frozen=True, slots=True)
class CompiledBlock:
    """Records of the leading pages that were taken: the batch, and the rows of each page."""

    batch: pa.RecordBatch
    rows_per_page: list[int]

    def ids_by_page(self) -> Iterator[Sequence[str]]:
        """Yield the ids of the records of each page."""
        kernel, column = load_kernel(), self.batch.column(0)
        marks = None if kernel is None else _fingerprints(kernel, column)
        column_ids = ColumnIds(column, marks or b"")
        for after, rows in zip(itertools.accumulate(self.rows_per_page), self.rows_per_page, strict=True):
            page = slice(after - rows, after)
            yield column_ids[page] if marks is None else column_ids.part(page)


class ColumnIds(HashedIds):
    """Ids as a column holds them, all of it or a part."""

    __slots__ = ("_column", "_ids", "_marks")

    def __init__(self, column: pa.Array, marks: bytes) -> None:
        self._column = column
        self._marks = marks
        self._ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._texts()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts())

    def part(self, rows: slice) -> ColumnIds:
        """The ids of some rows."""
        return ColumnIds(self._column[rows], self._marks[8 * rows.start : 8 * rows.stop])

    def fingerprints(self) -> bytes:
        """64 bits of the hash of each id: XXH3, in native byte order."""
        return self._marks

    def _texts(self) -> list[str]:
        if self._ids is None:
            self._ids = texts_of(self._column)
        return self._ids


def _fingerprints(kernel: Kernel, column: pa.Array) -> bytes | None:
    """The fingerprints of a column of ids; None if one is empty or too long for the kernel."""
    if not len(column):
        return b""
    _, offsets, text = column.buffers()
    marks = ctypes.create_string_buffer(8 * len(column))
    begin = offsets.address + 4 * column.offset
    count = kernel.brief.kernel_fingerprints(text.address, begin, len(column), marks)
    return None if count < 0 else marks.raw


class CompiledDecoder:
    """Decodes pages of one endpoint with the kernel."""

    def __init__(self, kernel: Kernel, endpoint: Endpoint, redaction: Redaction, arrow_schema: pa.Schema) -> None:
        """Raises ValueError for a description that the kernel cannot be given."""
        self._kernel = kernel.concurrent
        self._schema = arrow_schema
        fields = schema.columns(redaction.redacted(endpoint))
        attributes = _members(Struct(fields), redaction.rules)
        beside = [
            _node(Kind.STRING, schema.ID, redaction.rules.get(schema.ID), flags=REDACTED),
            _node(Kind.STRING, schema.TYPE, redaction.rules.get(schema.TYPE), flags=REDACTED),
            written_node(OBJECT, REDACTED, schema.ATTRIBUTES, attributes),
            *_ruled(redaction.rules, {schema.ID, schema.TYPE, schema.ATTRIBUTES}),
        ]
        if schema.ATTRIBUTES in redaction.rules:
            raise ValueError("a rule for the member that holds the attributes")
        description = written_node(OBJECT, 0, "", beside)
        secret = redaction.secret
        self._described = self._kernel.kernel_schema(description, len(description), secret, len(secret))
        if not self._described:
            raise ValueError("the kernel does not take the description")
        self._paths = ["", "", "", "", *_paths(Struct(fields), redaction.rules)]
        self._paths += [""] * len(beside[3:])
        self._type = pa.struct(
            [
                pa.field(schema.ID, pa.string()),
                pa.field(schema.TYPE, pa.string()),
                pa.field(schema.ATTRIBUTES, schema.arrow_type(Struct(fields)) if fields else pa.struct([])),
            ]
        )
        self._unknown_prefixes = ["" if path == "" else f"{path}." for path in self._paths]
        self._unknown_prefixes[0] = f"{RECORD}."

    def __del__(self) -> None:
        if getattr(self, "_described", None):
            self._kernel.kernel_schema_free(self._described)

    def decode(self, bodies: Sequence[bytes], drift: Drift) -> CompiledBlock:
        """The records of leading pages, up to the first page that is declined.

        Args:
            bodies: Pages of records of `id`, `type` and `attributes`.
            drift: Receives what the pages that were taken hold beyond the description.

        Raises:
            MemoryError: The system has no memory left.
        """
        pages, nodes = len(bodies), len(self._paths)
        texts = (ctypes.c_char_p * pages)(*bodies)
        sizes = (ctypes.c_int64 * pages)(*map(len, bodies))
        rows = (ctypes.c_int64 * pages)()
        missing, misfits = (ctypes.c_int64 * nodes)(), (ctypes.c_int64 * nodes)()
        unknown, unknown_count = (_UnknownName * _MOST_UNKNOWN)(), ctypes.c_int64()
        records, extra = _ArrowArray(), _ArrowArray()
        taken = self._kernel.kernel_decode(
            self._described,
            ctypes.addressof(texts),
            ctypes.addressof(sizes),
            pages,
            ctypes.addressof(rows),
            ctypes.addressof(missing),
            ctypes.addressof(misfits),
            ctypes.addressof(unknown),
            ctypes.addressof(unknown_count),
            ctypes.addressof(records),
            ctypes.addressof(extra),
        )
        if taken < 0:
            raise MemoryError
        columns, overlays = _taken_over(records, self._type), _taken_over(extra, pa.string())
        identities, types, attributes = columns.flatten()
        batch = pa.RecordBatch.from_arrays([identities, types, *attributes.flatten(), overlays], schema=self._schema)
        for counter, counts in ((drift.missing, missing), (drift.misfits, misfits)):
            for path, count in zip(self._paths, counts, strict=True):
                if count:
                    counter[path] += count
        for name in unknown[: unknown_count.value]:
            text = bytes(name.name[: name.name_size]).decode()
            drift.unknown[self._unknown_prefixes[name.parent] + text] += name.count
        return CompiledBlock(batch, rows[:taken])


def compiled_decoder(endpoint: Endpoint, redaction: Redaction, arrow_schema: pa.Schema) -> CompiledDecoder | None:
    """A decoder for an endpoint, or None where there is no kernel or it does not take the description."""
    kernel = load_kernel()
    if kernel is None:
        return None
    try:
        return CompiledDecoder(kernel, endpoint, redaction, arrow_schema)
    except ValueError:
        return None


def texts_of(column: pa.Array) -> list[str]:
    """The strings of a column without nulls: several times as fast as `to_pylist`."""
    if not len(column):
        return []
    _, offsets, data = column.buffers()
    places = memoryview(offsets).cast("i")[column.offset : column.offset + len(column) + 1]
    text = memoryview(data)[places[0] : places[-1]].tobytes()
    if text.isascii():
        whole, first = text.decode("ascii"), places[0]
        return [whole[start - first : end - first] for start, end in itertools.pairwise(places)]
    found: list[str] = column.to_pylist()
    return found


def _node(declared: FieldType, name: str, rule: Rule | None, *, flags: int = 0) -> bytes:
    if rule is not None:
        flags |= REDACTED
    if isinstance(declared, ListOf):
        return written_node(LIST, flags, name, [_node(declared.item, "", rule)])
    if isinstance(declared, Struct):
        rules = rule if isinstance(rule, Mapping) else {}
        return written_node(OBJECT, flags, name, _members(declared, rules))
    if isinstance(rule, RedactionAction):
        flags |= PSEUDONYM
    return written_node(KINDS[declared], flags, name)


def _members(declared: Struct, rules: Rules) -> list[bytes]:
    described = [_node(field.type, field.name, rules.get(field.name)) for field in declared.fields]
    return [*described, *_ruled(rules, {field.name for field in declared.fields})]


def _ruled(rules: Rules, known: set[str]) -> Iterator[bytes]:
    """Members that only a rule knows: dropped, or not in a column."""
    for name in sorted(rules.keys() - known):
        rule = rules[name]
        if rule is RedactionAction.DROP:
            yield written_node(DROPPED, 0, name)
        else:
            pseudonym = PSEUDONYM if rule is RedactionAction.PSEUDONYMISE else 0
            yield written_node(b"s", UNDESCRIBED | REDACTED | pseudonym, name)


def _paths(declared: FieldType, rules: Rule | None, path: str = "") -> Iterator[str]:
    """The path of each node below an object or a list, in the order in which they are written."""
    if isinstance(declared, ListOf):
        yield path
        yield from _paths(declared.item, rules, path)
    elif isinstance(declared, Struct):
        below = rules if isinstance(rules, Mapping) else {}
        known = set()
        for field in declared.fields:
            known.add(field.name)
            inner = f"{path}.{field.name}" if path else field.name
            yield inner
            yield from _paths(field.type, below.get(field.name), inner)
        yield from ("" for _ in sorted(below.keys() - known))
