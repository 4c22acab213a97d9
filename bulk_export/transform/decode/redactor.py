"""Applies a redaction to the JSON text of a record, and leaves every other token as it was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bulk_export.core.model import Endpoint, RecordShape
from bulk_export.transform.decode import lossless_json as exact
from bulk_export.transform.decode.json_lines import compact
from bulk_export.transform.decode.record_shape import RecordShaper
from bulk_export.transform.redaction import Redaction, RedactionAction, Rule, Rules

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_QUOTES_COLON_COMMA = 4
_USUAL = RecordShape()


class Redactor:
    """Applies rules to compact JSON texts that `split_page` has accepted."""

    def __init__(self, redaction: Redaction, shape: RecordShape = _USUAL) -> None:
        self._redaction = redaction
        self._record = _rules_for(redaction.rules, shape)

    def record(self, text: bytes) -> bytes:
        """A record without what is dropped, and with pseudonyms."""
        return self.value(text, self._record)

    def value(self, text: bytes, rule: Rule) -> bytes:
        """The value at the place of a rule. Raises RecursionError for one nested too deeply."""
        try:
            return self._value(text, rule)
        except (msgspec.DecodeError, _Unsound):
            # A lone surrogate, a number beyond a double, or a key that stands twice.
            return exact.dumps(self._tree(exact.loads(text), rule)).encode()

    def _value(self, text: bytes, rule: Rule) -> bytes:
        if text.startswith(b"["):
            return b"[" + b",".join([self._value(bytes(element), rule) for element in _ELEMENTS.decode(text)]) + b"]"
        if isinstance(rule, RedactionAction):
            return b"null" if text == b"null" else exact.dumps(self._pseudonym(exact.loads(text))).encode()
        return self._members(text, rule) if text.startswith(b"{") else text

    def _members(self, text: bytes, rules: Rules) -> bytes:
        pieces = []
        size = 1 if text == b"{}" else 0
        for name, raw in _MEMBERS.decode(text).items():
            member = bytes(raw)
            key = name.encode()
            size += len(key) + len(member) + _QUOTES_COLON_COMMA
            rule = rules.get(name)
            if rule is not None:
                if rule is RedactionAction.DROP:
                    continue
                member = self._value(member, rule)
            pieces.append(b'"' + key + b'":' + member)
        if size + 1 != len(text):
            raise _Unsound
        return b"{" + b",".join(pieces) + b"}"

    def _tree(self, value: Any, rule: Rule) -> Any:
        if isinstance(value, list):
            return [self._tree(element, rule) for element in value]
        if isinstance(rule, RedactionAction):
            return self._pseudonym(value)
        return self._left_of(value, rule) if isinstance(value, dict) else value

    def _left_of(self, members: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
        pairs = members.pairs if isinstance(members, exact.RepeatedKeys) else members.items()
        left = [
            (name, member if (rule := rules.get(name)) is None else self._tree(member, rule))
            for name, member in pairs
            if rules.get(name) is not RedactionAction.DROP
        ]
        return exact.RepeatedKeys(left) if isinstance(members, exact.RepeatedKeys) else dict(left)

    def _pseudonym(self, value: Any) -> str | None:
        if value is None:
            return None
        is_text = isinstance(value, str) and not isinstance(value, exact.Number)
        text: str = value if is_text else exact.dumps(value)
        return self._redaction.pseudonym(text.encode("utf-8", "surrogatepass"))


def page_rewriter(redaction: Redaction, endpoints: Sequence[Endpoint]) -> Callable[[str, bytes], bytes] | None:
    """What makes a page that a redaction has gone over from one as it was sent, given the name of its endpoint;
    None where nothing is redacted."""
    if not redaction:
        return None
    by_name = {one.name: (Redactor(redaction, one.shape), RecordShaper(one)) for one in endpoints}

    def rewrite(endpoint: str, body: bytes) -> bytes:
        redactor, arrangement = by_name[endpoint]
        return arrangement.join(list(map(redactor.record, compact(body, arrangement.split(body)))))

    return rewrite


def _rules_for(rules: Rules, shape: RecordShape) -> Rules:
    """Rules for whole records. Attributes may stand further down; by the same names, members beside are meant too."""
    tree: dict[str, Rule] = dict(rules)
    if shape.attributes:
        _plant(tree, shape.attributes, rules)
    for name, path in (("id", shape.id), ("type", shape.type)):
        if path and path != (name,) and name in rules:
            _plant(tree, path, rules[name])
    return tree


def _plant(tree: dict[str, Rule], path: Sequence[str], rule: Rule) -> None:
    name, *further = path
    there = tree.get(name)
    if isinstance(there, RedactionAction):
        return
    if further:
        below = dict(there or {})
        _plant(below, further, rule)
        rule = below
    tree[name] = {**(there or {}), **rule} if isinstance(rule, Mapping) else rule


class _Unsound(Exception):
    """An object whose text is longer than its members: a key stands twice, or is written with escapes."""
