"""Applies a redaction to the JSON text of records, and leaves every other token as it was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bulk_export.core.kernel_library import load_kernel
from bulk_export.core.model import Endpoint, RecordShape
from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.body import InvalidPage
from bulk_export.transform.decode.compiled_redactor import CompiledRedactor
from bulk_export.transform.decode.json_lines import LineBlock, compact
from bulk_export.transform.decode.record_shape import RecordShaper
from bulk_export.transform.decode.scanned_page import ScannedIds, ScannedRecords, scan_page
from bulk_export.transform.redaction import Redaction, RedactionAction, Rule, Rules

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_QUOTES_COLON_COMMA = 4
_JSON_API = RecordShape()
_PREFIX, _SUFFIX = b'{"data":[', b"]}"


class Redactor:
    """Applies rules to compact JSON texts that `split_page` has accepted: by the kernel as far as it takes them."""

    def __init__(self, redaction: Redaction, shape: RecordShape = _JSON_API) -> None:
        self._redaction = redaction
        self._record_rules = _rules_for_records(redaction.rules, shape)
        self._compiled = _compiled_redactor(self._record_rules, redaction.secret)

    def record(self, text: bytes) -> bytes:
        """Redact a record. Raises RecursionError for one that is nested too deeply."""
        return self.value(text, self._record_rules)

    def lines(self, records: ScannedRecords) -> bytes | None:
        """Redact the records of a page, with a line end behind each; None if `record` has to do it.

        Raises:
            MemoryError: The system has no memory left.
        """
        return self._compiled.lines(records) if self._compiled is not None and records.is_compact else None

    def records(self, texts: Sequence[bytes]) -> Sequence[bytes]:
        """Redact the records of a page. Raises RecursionError for one that is nested too deeply."""
        if self._compiled is not None and not isinstance(texts, ScannedRecords):
            # What stood elsewhere than in `data`, or with white space, is found as in other pages.
            scanned = scan_page(_PREFIX + b",".join(texts) + _SUFFIX)
            lines = None if scanned is None else self.lines(scanned)
            if lines is not None:
                return LineBlock([lines], len(texts))
        return list(map(self.record, texts))

    def pseudonyms(self, ids: Sequence[str | None]) -> list[str | None]:
        """The pseudonym of each id; None or empty where the id is."""
        if self._compiled is not None and isinstance(ids, ScannedIds):
            return [*self._compiled.pseudonyms(ids)]
        pseudonym = self._redaction.pseudonym
        return [id_ and pseudonym(id_.encode("utf-8", "surrogatepass")) for id_ in ids]

    def value(self, text: bytes, rule: Rule) -> bytes:
        """Redact a value by the rule for its path. Raises RecursionError for one that is nested too deeply.

        1. With msgspec, on the text: tokens that no rule concerns stay as they were sent.
        2. If msgspec declines it (a lone surrogate, a number beyond a double) or a key is repeated, on values: the same
           values, perhaps with other escapes.
        """
        try:
            return self._redacted_text(text, rule)
        except (msgspec.DecodeError, _NotProven):
            return lossless_json.dumps(self._redacted_value(lossless_json.loads(text), rule)).encode()

    def _redacted_text(self, text: bytes, rule: Rule) -> bytes:
        if text.startswith(b"["):
            elements = [self._redacted_text(bytes(element), rule) for element in _ELEMENTS.decode(text)]
            return b"[" + b",".join(elements) + b"]"
        if isinstance(rule, RedactionAction):
            if text == b"null":
                return text
            return lossless_json.dumps(self._pseudonym(lossless_json.loads(text))).encode()
        return self._redacted_object(text, rule) if text.startswith(b"{") else text

    def _redacted_object(self, text: bytes, rules: Rules) -> bytes:
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
                member = self._redacted_text(member, rule)
            pieces.append(b'"' + key + b'":' + member)
        if size + 1 != len(text):
            raise _NotProven
        return b"{" + b",".join(pieces) + b"}"

    def _redacted_value(self, value: Any, rule: Rule) -> Any:
        if isinstance(value, list):
            return [self._redacted_value(element, rule) for element in value]
        if isinstance(rule, RedactionAction):
            return self._pseudonym(value)
        return self._redacted_members(value, rule) if isinstance(value, dict) else value

    def _redacted_members(self, members: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
        is_repeated = isinstance(members, lossless_json.RepeatedKeys)
        pairs = members.pairs if isinstance(members, lossless_json.RepeatedKeys) else members.items()
        kept = [
            (name, member if (rule := rules.get(name)) is None else self._redacted_value(member, rule))
            for name, member in pairs
            if rules.get(name) is not RedactionAction.DROP
        ]
        return lossless_json.RepeatedKeys(kept) if is_repeated else dict(kept)

    def _pseudonym(self, value: Any) -> str | None:
        if value is None:
            return None
        is_text = isinstance(value, str) and not isinstance(value, lossless_json.Number)
        text: str = value if is_text else lossless_json.dumps(value)
        return self._redaction.pseudonym(text.encode("utf-8", "surrogatepass"))


def redact_records(records: Sequence[bytes], redactor: Redactor | None) -> Sequence[bytes]:
    """Redact the records of a page; without a redactor they stay as they are. Raises InvalidPage."""
    if redactor is None:
        return records
    try:
        return redactor.records(records)
    except RecursionError:
        raise InvalidPage("nested too deeply to be redacted") from None


def page_rewriter(redaction: Redaction, endpoints: Sequence[Endpoint]) -> Callable[[str, bytes], bytes] | None:
    """A function that redacts a page as it was sent, given the name of its endpoint; None if nothing is redacted."""
    if not redaction:
        return None
    by_name = {endpoint.name: (Redactor(redaction, endpoint.shape), RecordShaper(endpoint)) for endpoint in endpoints}

    def rewrite(endpoint: str, body: bytes) -> bytes:
        redactor, shaper = by_name[endpoint]
        records = shaper.split(body)
        lines = redactor.lines(records) if isinstance(records, ScannedRecords) else None
        if lines is not None:
            return shaper.join(LineBlock([lines], len(records)))
        return shaper.join(redactor.records(compact(body, records)))

    return rewrite


def _compiled_redactor(rules: Rules, secret: bytes) -> CompiledRedactor | None:
    kernel = load_kernel()
    if kernel is None:
        return None
    try:
        return CompiledRedactor(kernel, rules, secret)
    except ValueError:
        return None


def _rules_for_records(rules: Rules, shape: RecordShape) -> Rules:
    """Rules for records as they are sent. Attributes may be further down; members beside them of the same names are
    redacted as well."""
    tree: dict[str, Rule] = dict(rules)
    if shape.attributes:
        _plant(tree, shape.attributes, rules)
    for name, path in (("id", shape.id), ("type", shape.type)):
        if path and path != (name,) and name in rules:
            _plant(tree, path, rules[name])
    return tree


def _plant(tree: dict[str, Rule], path: Sequence[str], rule: Rule) -> None:
    name, *rest = path
    existing = tree.get(name)
    if isinstance(existing, RedactionAction):
        return
    if rest:
        branch = dict(existing or {})
        _plant(branch, rest, rule)
        rule = branch
    tree[name] = {**(existing or {}), **rule} if isinstance(rule, Mapping) else rule


class _NotProven(Exception):
    """The members of an object do not add up to the length of its text: a repeated key, or a key with escapes."""
