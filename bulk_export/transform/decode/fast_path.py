"""The fast way from bytes to columns, for pages that hold what was described, or what was met before.

msgspec decodes whole pages into structs made from the description. It takes the last of keys that repeat without
a word, so what it gave counts only if its values and keys add up to the length of the body. Places where other
values or unknown members are met again and again are learnt, and taken value by value from then on. Whatever is
refused goes the exact way (`plain`); both give the same columns.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json as exact
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

# A place is learnt when this many pages went the exact way because of it, and this many places at most.
_PAGES_TO_LEARN = 3
_MOST_LEARNT = 64
_EMPTY_BODY = len(b'{"data":[]}')
_ENVELOPE = len(b'{"id":"","type":"","attributes":},')


@dataclass(frozen=True, slots=True)
class FastBlock:
    """Records of some pages: identities by page, the columns but `_extra`, and what goes there by row."""

    ids: list[list[str]]
    columns: list[pa.Array]
    extra: dict[int, str]


class FastDecoder:
    """Decodes pages of one endpoint, as far as they are as described."""

    def __init__(self, endpoint: Endpoint, redaction: Redaction) -> None:
        self._fields = schema.columns(redaction.endpoint(endpoint))
        self._redaction = redaction
        self._rules = redaction.rules
        self._redactor = Redactor(redaction)
        self._met: Counter[str] = Counter()
        self._learnt: set[str] = set()
        self._spaced = False
        self._prepare()

    def decode(self, bodies: Sequence[bytes], drift: Drift) -> FastBlock:
        """The records of some pages. Raises NotAsDescribed, and counts nothing then."""
        counted = Drift()
        if not self._spaced:
            block, proven = self._decode(bodies, counted)
            if proven:
                drift.add(counted)
                return block
        compact = list(map(_compact, bodies))
        self._spaced = sum(map(len, compact)) != sum(map(len, bodies))
        counted = Drift()
        block, proven = self._decode(compact, counted)
        if not proven:
            raise NotAsDescribed
        drift.add(counted)
        return block

    def learn(self, drift: Drift) -> None:
        """Take in what a page that went the exact way held."""
        paths = {path for path in (*drift.unknown, *drift.misfits) if len(path) < 200}
        if len(self._met) < 50 * _MOST_LEARNT:
            self._met.update(paths)
        learnt = {path for path in paths if self._met[path] >= _PAGES_TO_LEARN} - self._learnt
        if learnt and len(self._learnt) + len(learnt) <= _MOST_LEARNT:
            self._learnt |= learnt
            self._prepare()

    def _prepare(self) -> None:
        """Make the structs for what is described and learnt by now."""
        try:
            self._attributes = self._struct(self._fields, "", self._rules)
            self._beside = list(self._others(f"{RECORD}.", _RECORD_MEMBERS, self._rules))
            beside = [(f"x{place}", msgspec.Raw, msgspec.Raw(b"")) for place in range(len(self._beside))]
            record = msgspec.defstruct(
                "Record",
                [("id", str), ("type", str), (schema.ATTRIBUTES, self._attributes.type), *beside],
                rename={f"x{place}": member.name for place, member in enumerate(self._beside)},
                forbid_unknown_fields=True,
                gc=False,
            )
            page = msgspec.defstruct("Page", [("data", list[record])], forbid_unknown_fields=True, gc=False)  # type: ignore[valid-type]  # made at run time
            self._decoder: msgspec.json.Decoder[Any] | None = msgspec.json.Decoder(page)
        except (NotAsDescribed, ValueError):
            # Nothing is described, or something by a name that a struct cannot have.
            self._decoder = None

    def _decode(self, bodies: Sequence[bytes], drift: Drift) -> tuple[FastBlock, bool]:
        """The records, and whether they are all that the bodies, when without white space, hold."""
        decoder = self._decoder
        if decoder is None or not all(map(is_utf8, bodies)):
            # msgspec does not look into what it leaves raw.
            raise NotAsDescribed
        ids, types, attributes, beside = [], [], [], []
        for body in bodies:
            try:
                records: list[Any] = decoder.decode(body).data
            except (msgspec.DecodeError, RecursionError):
                raise NotAsDescribed from None
            ids.append([record.id for record in records])
            types.extend([record.type for record in records])
            attributes.append(self._attributes.gather_members([record.attributes for record in records]))
            beside.append(
                [
                    member.node.gather(list(map(operator.attrgetter(f"x{place}"), records)))
                    for place, member in enumerate(self._beside)
                ]
            )
        id_column = pa.array(list(itertools.chain.from_iterable(ids)), pa.string())
        type_column = pa.array(types, pa.string())
        rows = len(types)
        arrays, size, extra = self._attributes.arrays(attributes, rows, drift)
        size += text_size(id_column) + text_size(type_column) + self._take_beside(beside, rows, extra, drift)
        size += rows * _ENVELOPE + sum(_EMPTY_BODY - bool(page_ids) for page_ids in ids)
        proven = size == sum(len(body) - exact.escapes(body) for body in bodies)
        if RedactionAction.PSEUDONYMISE is self._rules.get(schema.ID):
            ids = [list(map(self._pseudonym, page_ids)) for page_ids in ids]
            id_column = pa.array(list(itertools.chain.from_iterable(ids)), pa.string())
        if RedactionAction.PSEUDONYMISE is self._rules.get(schema.TYPE):
            type_column = pa.array(list(map(self._pseudonym, type_column.to_pylist())), pa.string())
        return FastBlock(ids, [id_column, type_column, *arrays], extra), proven

    def _take_beside(self, pages: Sequence[list[Any]], rows: int, extra: dict[int, str], drift: Drift) -> int:
        """Add members that stand beside the attributes to `extra`; their size."""
        size = 0
        fragments: dict[int, list[str]] = {}
        for place, member in enumerate(self._beside):
            built = member.node.build([page[place] for page in pages], drift)
            size += built.size + (rows - built.unset) * member.size
            for row, text in built.overlays.items():
                fragments.setdefault(row, []).append(f'"{overlay_name(member.name)}":{text}')
        for row, texts in fragments.items():
            before = f"{extra[row][:-1]}," if row in extra else "{"
            extra[row] = before + f'"{RECORD}":{{{",".join(texts)}}}}}'
        return size

    def _struct(self, fields: Sequence[Field], prefix: str, rules: Rules) -> StructColumn:
        described = [
            Member(field.name, prefix + field.name, self._node(field, prefix + field.name, rules), described=True)
            for field in fields
        ]
        into = tuple(f"{field.name}." for field in fields if not isinstance(field.type, Kind))
        others = self._others(prefix, {field.name for field in fields}, rules, into)
        return StructColumn([*described, *others], schema.arrow_type(Struct(tuple(fields))))

    def _others(
        self, prefix: str, known: Collection[str], rules: Rules, into: tuple[str, ...] = ()
    ) -> Iterator[Member]:
        """What is dropped, and what was learnt, at a place: in the order of names."""
        learnt = {path.removeprefix(prefix) for path in self._learnt if path.startswith(prefix)}
        elsewhere = (*into, f"{RECORD}.")
        for name in sorted({name for name in learnt if not name.startswith(elsewhere)} | rules.keys()):
            rule = rules.get(name)
            if rule is RedactionAction.DROP:
                yield Member(name, prefix + name, IgnoredColumn(), described=False)
            elif name in learnt and name not in known and _can_be_looked_for(name):
                yield Member(name, prefix + name, AnyColumn(None, prefix + name, self._redact(rule)), described=False)

    def _node(self, field: Field, path: str, rules: Rules) -> ColumnBuilder:
        rule = rules.get(field.name)
        if path in self._learnt or isinstance(rule, RedactionAction):
            return AnyColumn(field.type, path, self._redact(rule))
        return self._node_of(field.type, path, rule or {})

    def _node_of(self, declared: FieldType, path: str, rules: Rules) -> ColumnBuilder:
        if isinstance(declared, ListOf):
            return ListColumn(self._node_of(declared.item, path, rules), schema.arrow_type(declared))
        if isinstance(declared, Struct):
            return self._struct(declared.fields, f"{path}.", rules)
        if declared is Kind.NUMBER:
            return AnyColumn(declared, path, None)
        return TimestampColumn(declared, path) if declared in (Kind.TIMESTAMP, Kind.DATE) else ScalarColumn(declared)

    def _redact(self, rule: Rule | None) -> Callable[[bytes], bytes] | None:
        return None if rule is None else lambda text: self._redactor.value(text, rule)

    def _pseudonym(self, text: str) -> str:
        return self._redaction.pseudonym(text.encode())


_RECORD_MEMBERS = frozenset({schema.ID, schema.TYPE, schema.ATTRIBUTES})


def _can_be_looked_for(name: str) -> bool:
    """Whether msgspec can be given a name to look for."""
    return name.isprintable() and not {'"', "\\"} & set(name)


def _compact(body: bytes) -> bytes:
    try:
        return msgspec.json.format(body, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        raise NotAsDescribed from None
