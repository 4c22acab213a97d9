"""What is dropped from an export, or replaced by a keyed hash, for data that its owner may not hold.

A path names an attribute, or members inside of one joined by dots; it passes through lists. Its rule holds wherever the
path leads: in columns, in `_extra`, in lines, in attributes without a description, and in values of another type than
described.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.errors import UsageError

SHORTEST_KEY = 16
# Prefix of the path of an attribute that has no description, but may be sent.
UNDESCRIBED = "_extra."
_KEY_LABEL = b"bulk-export pseudonym key"
_KEY_ID_DIGITS = 16
_ALWAYS_THERE = ("id", "type")


class RedactionAction(enum.Enum):
    """What is done to the values that a path leads to."""

    DROP = "drop"
    PSEUDONYMISE = "pseudonymise"


Rule = RedactionAction | Mapping[str, "Rule"]
Rules = Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is dropped and pseudonymised, as a tree of names. False if there is nothing."""

    rules: Rules
    _key: bytes = field(repr=False)
    paths: tuple[str, ...] = ()

    @classmethod
    def from_paths(cls, drop: Sequence[str], pseudonymise: Sequence[str], key: bytes | None = None) -> Redaction:
        """Make a redaction from dotted paths.

        Args:
            drop: Paths to drop. A path behind `_extra.` is that of an attribute without a description.
            pseudonymise: Paths whose values are replaced by pseudonyms.
            key: The secret of the pseudonyms, needed if there are any.

        Raises:
            UsageError: Paths contradict each other, or the key is missing, too short, or not needed.
        """
        if key is not None and not pseudonymise:
            raise UsageError("There is a pseudonym key, but nothing to pseudonymise.", next_step=_WHAT_TO_NAME)
        if pseudonymise and (key is None or len(key) < SHORTEST_KEY):
            raise UsageError(
                f"Pseudonyms need a secret key of at least {SHORTEST_KEY} bytes.",
                next_step="Name a file of random bytes with --pseudonym-key-file, and keep it: the same key gives "
                "the same pseudonyms.",
            )
        return cls._build(drop, pseudonymise, key or b"")

    @classmethod
    def already_applied(cls, drop: Sequence[str], pseudonymise: Sequence[str]) -> Redaction:
        """A redaction that records have been through: it describes what they still hold, and makes no pseudonyms."""
        return cls._build(drop, pseudonymise, b"")

    @classmethod
    def _build(cls, drop: Sequence[str], pseudonymise: Sequence[str], key: bytes) -> Redaction:
        tree: dict[str, Rule] = {}
        for action, paths in ((RedactionAction.DROP, drop), (RedactionAction.PSEUDONYMISE, pseudonymise)):
            for path in dict.fromkeys(paths):
                _plant(tree, path.removeprefix(UNDESCRIBED), action)
        for name in _ALWAYS_THERE:
            if tree.get(name) is RedactionAction.DROP:
                raise UsageError(
                    f"The column {name} cannot be dropped.", next_step=f"Pseudonymise {name} if it must not be shown."
                )
        return cls(tree, key, tuple(dict.fromkeys([*drop, *pseudonymise])))

    @property
    def key_id(self) -> str | None:
        """A text that tells one key from another without revealing it; None without a key."""
        return hmac.digest(self._key, _KEY_LABEL, hashlib.sha256).hex()[:_KEY_ID_DIGITS] if self._key else None

    @property
    def secret(self) -> bytes:
        """The key of the pseudonyms, for a decoder that makes them itself; empty if there is none."""
        return self._key

    def __bool__(self) -> bool:
        return bool(self.rules)

    def pseudonym(self, value: bytes) -> str:
        """The HMAC-SHA-256 of a value under the key, as 64 hexadecimal digits."""
        return hmac.digest(self._key, value, hashlib.sha256).hex()

    def redacted(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint without dropped fields, and with strings for pseudonyms."""
        return replace(endpoint, fields=_redacted_fields(endpoint.fields, self.rules)) if self else endpoint

    def unmatched_paths(self, endpoint: Endpoint) -> list[str]:
        """The paths that lead to nothing in a description, without those behind `_extra.`, which need not."""
        described = Struct((Field("id", Kind.STRING), Field("type", Kind.STRING), *endpoint.fields))
        return [
            path
            for path in self.paths
            if not path.startswith(UNDESCRIBED) and not _is_described(path.split("."), described)
        ]


NO_REDACTION = Redaction({}, b"")


_WHAT_TO_NAME = "Name what is to be replaced with --pseudonymise, or leave the key out."


def _plant(tree: dict[str, Rule], path: str, action: RedactionAction) -> None:
    *parents, last = path.split(".")
    if not all((*parents, last)):
        raise UsageError(f"{path!r} is not a path of names.", next_step="Write it like email or npq_enrolments.email.")
    branch = tree
    for name in parents:
        below = branch.setdefault(name, {})
        if not isinstance(below, dict):
            raise _contradiction(path)
        branch = below
    if last in branch:
        raise _contradiction(path)
    branch[last] = action


def _contradiction(path: str) -> UsageError:
    return UsageError(
        f"{path!r}, or a field inside of it, has more than one rule.",
        next_step="Name each path once: with --drop-column or with --pseudonymise.",
    )


def _is_described(names: Sequence[str], declared: FieldType) -> bool:
    while isinstance(declared, ListOf):
        declared = declared.item
    if not names:
        return True
    if declared in (Kind.ANY, Struct(())):
        return True  # anything may be inside
    if not isinstance(declared, Struct):
        return False
    return any(_is_described(names[1:], member.type) for member in declared.fields if member.name == names[0])


def _redacted_fields(fields: Sequence[Field], rules: Rules) -> tuple[Field, ...]:
    types = ((member.name, _redacted_type(member.type, rules.get(member.name))) for member in fields)
    return tuple(Field(name, declared) for name, declared in types if declared is not None)


def _redacted_type(declared: FieldType, rule: Rule | None) -> FieldType | None:
    """The type of a field after its rule was applied; None if nothing is left of it."""
    if rule is None:
        return declared
    if rule is RedactionAction.DROP:
        return None
    if isinstance(declared, ListOf):
        item = _redacted_type(declared.item, rule)
        return None if item is None else ListOf(item)
    if isinstance(rule, RedactionAction):
        return Kind.STRING
    if isinstance(declared, Struct):
        fields = _redacted_fields(declared.fields, rule)
        return Struct(fields) if fields else None
    return declared
