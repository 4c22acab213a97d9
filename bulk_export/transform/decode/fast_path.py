"""The fast path from bytes to columns, for pages that hold what was described, or what was met before.

msgspec decodes pages into structs that are made from the description. It has no way to report three things: a key that
occurs twice (it keeps the last value), white space, and how a string was escaped. So its result counts only with a
proof: the sizes of all values and keys, with the punctuation between them, must add up to the length of the bodies.

    length of the bodies - overhead of their escapes
        = per body: {"data":[ ]}, and a comma between two records
        + per record: {"id":"","type":"","attributes":} and what stands in it
        + per member that was sent: its key and its value (see `column_builders`)

A repeated key or white space makes the left side longer, and nothing makes it shorter.

Paths at which unknown members or values of other types occur on several pages are learned, and decoded value by value
from then on. Whatever is still declined takes the exact path (`exact_path`); both give the same columns.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.body import is_utf8
from bulk_export.transform.decode.column_builders import (
    AnyColumn,
    ColumnBuilder,
    IgnoredColumn,
    ListColumn,
    Member,
    NotAsDescribed,
    ScalarColumn,
    StructColumn,
    TimestampColumn,
    text_size,
)
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.redactor import Redactor
from bulk_export.transform.decode.values import RECORD, overlay_name
from bulk_export.transform.redaction import Redaction, RedactionAction, Rule, Rules

# A path is learned after this many pages took the exact path because of it, and at most this many paths are.
_PAGES_TO_LEARN = 3
_MAX_LEARNED = 64
_LONGEST_PATH = 200
_EMPTY_PAGE_SIZE = len(b'{"data":[]}')
_RECORD_SIZE = len(b'{"id":"","type":"","attributes":},')
_NORMALIZED_NAMES = frozenset({schema.ID, schema.TYPE, schema.ATTRIBUTES})


class FastDecoder:
    """Decodes pages of normalized records of one endpoint, if they hold only what is described or was learned."""

    def __init__(self, endpoint: Endpoint, redaction: Redaction) -> None:
        redacted = redaction.redacted(endpoint)
        self._schema = schema.arrow_schema(redacted)
        self._fields = schema.columns(redacted)
        self._redaction = redaction
        self._rules = redaction.rules
        self._redactor = Redactor(redaction)
        self._pages_with: Counter[str] = Counter()
        self._learned: set[str] = set()
        self._has_white_space = False
        self._make_structs()

    def decode(self, pages: Sequence[bytes], drift: Drift) -> tuple[pa.RecordBatch, list[list[str]]]:
        """Decode pages into a batch.

        Returns:
            The batch, and the ids of the records of each page.

        Raises:
            NotAsDescribed: The pages hold something else, or could not be proven to hold nothing else. Nothing was
                counted in `drift` then.
        """
        counted = Drift()
        decoded = None
        # 1. As they were sent, unless white space was met before, which never passes the proof.
        if not self._has_white_space:
            decoded = self._decode(pages, counted)
        # 2. Without white space.
        if decoded is None:
            compact = list(map(_compact, pages))
            self._has_white_space = sum(map(len, compact)) != sum(map(len, pages))
            counted = Drift()
            decoded = self._decode(compact, counted)
        # 3. Neither: a key is repeated.
        if decoded is None:
            raise NotAsDescribed
        drift.add(counted)
        return decoded

    def learn(self, drift: Drift) -> None:
        """Learn from the drift of a page that took the exact path."""
        paths = {path for path in (*drift.unknown, *drift.misfits) if len(path) < _LONGEST_PATH}
        if len(self._pages_with) < 50 * _MAX_LEARNED:
            self._pages_with.update(paths)
        new = {path for path in paths if self._pages_with[path] >= _PAGES_TO_LEARN} - self._learned
        if new and len(self._learned) + len(new) <= _MAX_LEARNED:
            self._learned |= new
            self._make_structs()

    def _make_structs(self) -> None:
        """Make the structs for what is described and learned by now."""
        try:
            self._attributes = self._struct(self._fields, "", self._rules)
            self._beside = list(self._undescribed(f"{RECORD}.", _NORMALIZED_NAMES, self._rules))
            beside = [(f"x{index}", msgspec.Raw, msgspec.Raw(b"")) for index in range(len(self._beside))]
            record = msgspec.defstruct(
                "Record",
                [("id", str), ("type", str), (schema.ATTRIBUTES, self._attributes.type), *beside],
                rename={f"x{index}": member.name for index, member in enumerate(self._beside)},
                forbid_unknown_fields=True,
                gc=False,
            )
            page = msgspec.defstruct("Page", [("data", list[record])], forbid_unknown_fields=True, gc=False)  # type: ignore[valid-type]  # made at run time
            self._decoder: msgspec.json.Decoder[Any] | None = msgspec.json.Decoder(page)
        except (NotAsDescribed, ValueError):
            # Nothing is described, or a member has a name that a struct cannot have.
            self._decoder = None

    def _decode(self, pages: Sequence[bytes], drift: Drift) -> tuple[pa.RecordBatch, list[list[str]]] | None:
        """The batch and the ids; None if the pages were not proven to hold nothing else."""
        decoder = self._decoder
        # msgspec does not validate the bytes of values that it leaves raw.
        if decoder is None or not all(map(is_utf8, pages)):
            raise NotAsDescribed
        ids, types, attributes, beside = [], [], [], []
        for page in pages:
            try:
                records: list[Any] = decoder.decode(page).data
            except (msgspec.DecodeError, RecursionError):
                raise NotAsDescribed from None
            ids.append([record.id for record in records])
            types.extend([record.type for record in records])
            attributes.append(self._attributes.gather_members([record.attributes for record in records]))
            beside.append(
                [
                    member.builder.gather(list(map(operator.attrgetter(f"x{index}"), records)))
                    for index, member in enumerate(self._beside)
                ]
            )
        id_column = pa.array(list(itertools.chain.from_iterable(ids)), pa.string())
        type_column = pa.array(types, pa.string())
        rows = len(types)
        columns, size, extra = self._attributes.arrays(attributes, rows, drift)
        size += text_size(id_column) + text_size(type_column) + self._add_beside(beside, rows, extra, drift)
        size += rows * _RECORD_SIZE + sum(_EMPTY_PAGE_SIZE - bool(page_ids) for page_ids in ids)
        if size != sum(len(page) - lossless_json.escape_overhead(page) for page in pages):
            return None
        if self._is_pseudonymised(schema.ID):
            ids = [list(map(self._pseudonym, page_ids)) for page_ids in ids]
            id_column = pa.array(list(itertools.chain.from_iterable(ids)), pa.string())
        if self._is_pseudonymised(schema.TYPE):
            type_column = pa.array(list(map(self._pseudonym, type_column.to_pylist())), pa.string())
        overlays = pa.nulls(rows, pa.string())
        if extra:
            overlays = pa.array([extra.get(row) for row in range(rows)], pa.string())
        return pa.RecordBatch.from_arrays([id_column, type_column, *columns, overlays], schema=self._schema), ids

    def _add_beside(self, pages: Sequence[list[Any]], rows: int, extra: dict[int, str], drift: Drift) -> int:
        """Add the members beside the attributes to `extra`, the overlays by row. Return their size."""
        size = 0
        fragments: dict[int, list[str]] = {}
        for index, member in enumerate(self._beside):
            built = member.builder.build([page[index] for page in pages], drift)
            size += built.size + (rows - built.unset) * member.size
            for row, text in built.overlays.items():
                fragments.setdefault(row, []).append(f'"{overlay_name(member.name)}":{text}')
        for row, texts in fragments.items():
            before = f"{extra[row][:-1]}," if row in extra else "{"
            extra[row] = before + f'"{RECORD}":{{{",".join(texts)}}}}}'
        return size

    def _struct(self, fields: Sequence[Field], prefix: str, rules: Rules) -> StructColumn:
        described = [
            Member(field.name, prefix + field.name, self._builder(field, prefix + field.name, rules), described=True)
            for field in fields
        ]
        inside = tuple(f"{field.name}." for field in fields if not isinstance(field.type, Kind))
        undescribed = self._undescribed(prefix, {field.name for field in fields}, rules, inside)
        return StructColumn([*described, *undescribed], schema.arrow_type(Struct(tuple(fields))))

    def _undescribed(
        self, prefix: str, known: Collection[str], rules: Rules, inside: tuple[str, ...] = ()
    ) -> Iterator[Member]:
        """The members of an object that are dropped, or were learned and are not `known`; sorted by name.

        `prefix` is the path of the object, and `inside` are prefixes of paths inside of its described members.
        """
        learned = {path.removeprefix(prefix) for path in self._learned if path.startswith(prefix)}
        elsewhere = (*inside, f"{RECORD}.")
        for name in sorted({name for name in learned if not name.startswith(elsewhere)} | rules.keys()):
            rule = rules.get(name)
            if rule is RedactionAction.DROP:
                yield Member(name, prefix + name, IgnoredColumn(), described=False)
            elif name in learned and name not in known and _can_name_a_member(name):
                yield Member(name, prefix + name, AnyColumn(None, prefix + name, self._redact(rule)), described=False)

    def _builder(self, field: Field, path: str, rules: Rules) -> ColumnBuilder:
        rule = rules.get(field.name)
        if path in self._learned or isinstance(rule, RedactionAction):
            return AnyColumn(field.type, path, self._redact(rule))
        return self._builder_of_type(field.type, path, rule or {})

    def _builder_of_type(self, declared: FieldType, path: str, rules: Rules) -> ColumnBuilder:
        if isinstance(declared, ListOf):
            return ListColumn(self._builder_of_type(declared.item, path, rules), schema.arrow_type(declared))
        if isinstance(declared, Struct):
            return self._struct(declared.fields, f"{path}.", rules)
        if declared is Kind.NUMBER:
            return AnyColumn(declared, path, None)
        return TimestampColumn(declared, path) if declared in (Kind.TIMESTAMP, Kind.DATE) else ScalarColumn(declared)

    def _redact(self, rule: Rule | None) -> Callable[[bytes], bytes] | None:
        return None if rule is None else lambda text: self._redactor.value(text, rule)

    def _is_pseudonymised(self, name: str) -> bool:
        return self._rules.get(name) is RedactionAction.PSEUDONYMISE

    def _pseudonym(self, text: str) -> str:
        return self._redaction.pseudonym(text.encode())


def _can_name_a_member(name: str) -> bool:
    """Whether msgspec can be told to look for a member of this name."""
    return name.isprintable() and not {'"', "\\"} & set(name)


def _compact(page: bytes) -> bytes:
    try:
        return msgspec.json.format(page, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        raise NotAsDescribed from None
