"""What is left out of an export, or replaced by a keyed hash: for those who may not hold it.

A path names an attribute, or members inside of one joined by dots; lists on the way are passed through. The rules
hold wherever a path leads: in columns, in `_extra`, in lines, in attributes that nobody described, and in values of
another type than was described.
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
# Before the name of an attribute that no description knows, but that a service may send.
UNDESCRIBED = "_extra."
_KEY_LABEL = b"bulk-export pseudonym key"
_KEY_ID_DIGITS = 16
_ALWAYS_THERE = ("id", "type")


class RedactionAction(enum.Enum):
    """What happens to what stands at the end of a path."""

    DROP = "drop"
    PSEUDONYMISE = "pseudonymise"


Rule = RedactionAction | Mapping[str, "Rule"]
Rules = Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is to be dropped and pseudonymised, as a tree of names; true where there is anything."""

    rules: Rules
    _key: bytes = field(repr=False)
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, drop: Sequence[str], pseudonymise: Sequence[str], key: bytes | None = None) -> Redaction:
        """Rules from dotted paths. Raises UsageError for paths that contradict each other, and for want of a key.

        A path after `_extra.` is that of an attribute which no description knows.
        """
        if key is not None and not pseudonymise:
            raise UsageError("There is a pseudonym key, but nothing to pseudonymise.", next_step=_WHAT_TO_NAME)
        if pseudonymise and (key is None or len(key) < SHORTEST_KEY):
            raise UsageError(
                f"Pseudonyms need a secret key of at least {SHORTEST_KEY} bytes.",
                next_step="Name a file of random bytes with --pseudonym-key-file, and keep it: the same key gives "
                "the same pseudonyms.",
            )
        return cls._planted(drop, pseudonymise, key or b"")

    @classmethod
    def applied(cls, drop: Sequence[str], pseudonymise: Sequence[str]) -> Redaction:
        """Rules that records have been through already: they tell what is left, and make no pseudonyms."""
        return cls._planted(drop, pseudonymise, b"")

    @classmethod
    def _planted(cls, drop: Sequence[str], pseudonymise: Sequence[str], key: bytes) -> Redaction:
        tree: dict[str, Rule] = {}
        for treatment, paths in ((RedactionAction.DROP, drop), (RedactionAction.PSEUDONYMISE, pseudonymise)):
            for path in dict.fromkeys(paths):
                _plant(tree, path.removeprefix(UNDESCRIBED), treatment)
        for name in _ALWAYS_THERE:
            if tree.get(name) is RedactionAction.DROP:
                raise UsageError(
                    f"The column {name} cannot be dropped.", next_step=f"Pseudonymise {name} if it must not be shown."
                )
        return cls(tree, key, tuple(dict.fromkeys([*drop, *pseudonymise])))

    @property
    def key_id(self) -> str | None:
        """What tells one key from another without showing it; None where there is no key."""
        return hmac.digest(self._key, _KEY_LABEL, hashlib.sha256).hex()[:_KEY_ID_DIGITS] if self._key else None

    def __bool__(self) -> bool:
        return bool(self.rules)

    def pseudonym(self, value: bytes) -> str:
        """HMAC-SHA-256 of a value, as 64 hexadecimal digits; the same for the same key, always."""
        return hmac.digest(self._key, value, hashlib.sha256).hex()

    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        """The description of what is left: without the fields that are dropped, pseudonyms as strings."""
        return replace(endpoint, fields=_left_of(endpoint.fields, self.rules)) if self else endpoint

    def unmatched(self, endpoint: Endpoint) -> list[str]:
        """The paths that name nothing in a description, but for those that say so by `_extra.`."""
        described = Struct((Field("id", Kind.STRING), Field("type", Kind.STRING), *endpoint.fields))
        return [
            path for path in self.paths if not path.startswith(UNDESCRIBED) and not _leads(path.split("."), described)
        ]


NO_REDACTION = Redaction({}, b"")


_WHAT_TO_NAME = "Name what is to be replaced with --pseudonymise, or leave the key out."


def _plant(tree: dict[str, Rule], path: str, treatment: RedactionAction) -> None:
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
    branch[last] = treatment


def _contradiction(path: str) -> UsageError:
    return UsageError(
        f"More than one thing is to be done with {path!r}, or with something inside of it.",
        next_step="Name each path once, to be dropped or to be pseudonymised.",
    )


def _leads(names: Sequence[str], declared: FieldType) -> bool:
    while isinstance(declared, ListOf):
        declared = declared.item
    if not names:
        return True
    if declared in (Kind.ANY, Struct(())):
        return True  # nobody knows what is inside
    if not isinstance(declared, Struct):
        return False
    return any(_leads(names[1:], member.type) for member in declared.fields if member.name == names[0])


def _left_of(fields: Sequence[Field], rules: Rules) -> tuple[Field, ...]:
    left = ((member.name, _type_left(member.type, rules.get(member.name))) for member in fields)
    return tuple(Field(name, declared) for name, declared in left if declared is not None)


def _type_left(declared: FieldType, rule: Rule | None) -> FieldType | None:
    """The type of what a rule leaves of a field; None where it leaves nothing."""
    if rule is None:
        return declared
    if rule is RedactionAction.DROP:
        return None
    if isinstance(declared, ListOf):
        item = _type_left(declared.item, rule)
        return None if item is None else ListOf(item)
    if isinstance(rule, RedactionAction):
        return Kind.STRING
    if isinstance(declared, Struct):
        fields = _left_of(declared.fields, rule)
        return Struct(fields) if fields else None
    return declared
