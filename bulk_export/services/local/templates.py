"""Templates of records: a few hundred for each endpoint, made from a seed.

A template is the JSON text of a record's attributes with placeholders for what differs from record to record: ids,
times, and names that are sorted by.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from bulk_export.core.model import Endpoint, FieldType, Kind, ListOf
from bulk_export.services.local import early_career_attributes, npq_attributes
from bulk_export.services.local.values import RecordRandom, cohort, day, instant, placeholder, words
from bulk_export.transform.decode import Drift, lossless_json
from bulk_export.transform.decode.values import NOTHING, fit

MakeAttributes = Callable[[RecordRandom], dict[str, Any]]

TEMPLATE_COUNT = 512
_PLACEHOLDER = re.compile(r'"\x01([a-z_]+\d*)\x01"')


@functools.lru_cache(maxsize=32)
def record_templates(endpoint: Endpoint, seed: int, last_cohort: int | None = None) -> list[list[str]]:
    """Return the templates of an endpoint, each cut at its placeholders.

    The parts of a template are text, name of a placeholder, text, name of a placeholder, …, text.
    """
    rng = RecordRandom.of(f"{seed}/{endpoint.name}", last_cohort)
    types = {field.name: field.type for field in endpoint.fields}
    make_attributes = _attributes_for(endpoint.name, types)
    templates = []
    for number in range(TEMPLATE_COUNT):
        attributes = {field.name: _value(field.type, field.name, rng) for field in endpoint.fields}
        plausible = make_attributes(rng) | {
            "created_at": placeholder("created_at"),
            "updated_at": placeholder("updated_at"),
        }
        attributes.update((name, value) for name, value in plausible.items() if _fits(types.get(name), value))
        text = json.dumps(attributes, ensure_ascii=number % 2 == 0, separators=(",", ":"))
        templates.append(_PLACEHOLDER.split(text.replace("\\u0001", "\x01")))
    return templates


def _fits(declared: FieldType | None, value: Any) -> bool:
    """Whether a plausible value has the declared type: other services use the same names for other types."""
    if declared is None:
        return False
    if declared is Kind.ANY:
        return True
    if isinstance(value, str) and value.startswith("\x01"):
        return declared in _PLACEHOLDER_TYPES.get(value.strip("\x01"), (Kind.STRING,))
    _, misfit = fit(declared, lossless_json.loads(json.dumps(value).encode()), "", Drift())
    return misfit is NOTHING


_PLACEHOLDER_TYPES = {
    "created_at": (Kind.TIMESTAMP, Kind.STRING),
    "updated_at": (Kind.TIMESTAMP, Kind.STRING),
    "payment_date": (Kind.DATE, Kind.STRING, Kind.TIMESTAMP),
}


def _value(declared: FieldType, name: str, rng: RecordRandom) -> Any:
    if rng.random() < 0.1 and not isinstance(declared, ListOf):
        return None
    if isinstance(declared, ListOf):
        return [_value(declared.item, name, rng) for _ in range(rng.choice((0, 1, 1, 2)))]
    if not isinstance(declared, Kind):
        return {field.name: _value(field.type, field.name, rng) for field in declared.fields}
    if name == "cohort" and declared is Kind.STRING and rng.last_cohort is not None:
        return str(cohort(rng))
    return _SCALARS[declared](rng)


_SCALARS: dict[Kind, Callable[[random.Random], Any]] = {
    Kind.STRING: words,
    Kind.BOOLEAN: lambda rng: rng.random() < 0.5,
    Kind.INTEGER: lambda rng: rng.randint(-1_000_000, 1_000_000),
    Kind.NUMBER: lambda rng: rng.randint(-1_000_000, 1_000_000) / 64,
    Kind.TIMESTAMP: instant,
    Kind.DATE: day,
    Kind.ANY: lambda rng: rng.choice((7, "seven", True, [1, "a"], {"a": None})),
}


_ATTRIBUTES: dict[str, MakeAttributes] = {
    "npq-applications": npq_attributes.application,
    "participants-npq": npq_attributes.participant,
    "participants-npq-outcomes": npq_attributes.outcome,
    "participant-declarations": npq_attributes.declaration,
    "statements": npq_attributes.statement,
    "delivery-partners": npq_attributes.delivery_partner,
    "participants": early_career_attributes.participant,
    "participants-transfers": early_career_attributes.transfers,
    "unfunded-mentors": early_career_attributes.unfunded_mentor,
    "partnerships": early_career_attributes.partnership,
    "schools": early_career_attributes.school,
}


def _attributes_for(endpoint: str, types: Mapping[str, FieldType]) -> MakeAttributes:
    """Return what makes the attributes of an endpoint. Services use one name for lists with different attributes."""
    if endpoint == "participant-declarations" and "evidence_held" in types:
        return early_career_attributes.declaration
    if endpoint == "delivery-partners" and types.get("cohort") == ListOf(Kind.STRING):
        return early_career_attributes.delivery_partner
    if endpoint.startswith("participants-ecf") and "training_record_id" in types:
        return early_career_attributes.trained_person
    return _ATTRIBUTES.get(endpoint, lambda _: {})
