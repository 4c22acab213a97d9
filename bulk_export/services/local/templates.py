"""What records may look like: a few hundred variants of each endpoint's attributes, made from a seed.

A variant is JSON text with gaps for what differs from record to record: ids, times, names that sort.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from bulk_export.core.model import Endpoint, FieldType, Kind, ListOf
from bulk_export.services.local import early_careers
from bulk_export.services.local import vocabulary as text
from bulk_export.services.local.values import day, email, gap, instant, person, reference_number, urn, words
from bulk_export.transform.decode import Drift, lossless_json
from bulk_export.transform.decode.values import NOTHING, fit

VARIANTS = 512
_GAP = re.compile(r'"\x01([a-z_]+\d*)\x01"')


@functools.lru_cache(maxsize=32)
def variants(endpoint: Endpoint, seed: int) -> list[list[str]]:
    """The attributes of each variant as JSON text cut at its gaps: text, gap name, text, gap name, …, text."""
    rng = random.Random(f"{seed}/{endpoint.name}")
    types = {field.name: field.type for field in endpoint.fields}
    overlay = _overlay(endpoint.name, types)
    made = []
    for number in range(VARIANTS):
        attributes = {field.name: _value(field.type, field.name, rng) for field in endpoint.fields}
        realistic = overlay(rng) | {"created_at": gap("created_at"), "updated_at": gap("updated_at")}
        attributes.update((name, value) for name, value in realistic.items() if _fits(types.get(name), value))
        rendered = json.dumps(attributes, ensure_ascii=number % 2 == 0, separators=(",", ":"))
        made.append(_GAP.split(rendered.replace("\\u0001", "\x01")))
    return made


def _fits(declared: FieldType | None, value: Any) -> bool:
    """Whether the description has a place for a value; the same names mean other things elsewhere."""
    if declared is None:
        return False
    if declared is Kind.ANY:
        return True
    if isinstance(value, str) and value.startswith("\x01"):
        return declared in _FILLED_WITH.get(value.strip("\x01"), (Kind.STRING,))
    _, left = fit(declared, lossless_json.loads(json.dumps(value).encode()), "", Drift())
    return left is NOTHING


_FILLED_WITH = {
    "created_at": (Kind.TIMESTAMP, Kind.STRING),
    "updated_at": (Kind.TIMESTAMP, Kind.STRING),
    "payment_date": (Kind.DATE, Kind.STRING, Kind.TIMESTAMP),
}


def _value(declared: FieldType, name: str, rng: random.Random) -> Any:
    if rng.random() < 0.1 and not isinstance(declared, ListOf):
        return None
    if isinstance(declared, ListOf):
        return [_value(declared.item, name, rng) for _ in range(rng.choice((0, 1, 1, 2)))]
    if not isinstance(declared, Kind):
        return {field.name: _value(field.type, field.name, rng) for field in declared.fields}
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


def _plain(rng: random.Random) -> dict[str, Any]:
    return {}


def _application(rng: random.Random) -> dict[str, Any]:
    status = rng.choice(("pending", "accepted", "accepted", "accepted", "rejected"))
    return {
        "course_identifier": rng.choice(text.COURSES),
        "email": email(rng),
        "full_name": person(rng),
        "employment_role": words(rng),
        "funding_choice": rng.choice(("school", "trust", "self", "another", "employer", None)),
        "headteacher_status": rng.choice(("no", "yes_when_course_starts", "yes_in_first_two_years")),
        "ineligible_for_funding_reason": rng.choice((None, None, "previously-funded", "establishment-ineligible")),
        "participant_id": gap("participant_id"),
        "private_childcare_provider_urn": rng.choice((None, "EY944860")),
        "teacher_reference_number": reference_number(rng),
        "school_urn": urn(rng),
        "school_ukprn": str(rng.randint(10_000_000, 10_099_999)),
        "status": status,
        "reason_for_rejection": "Application does not meet eligibility criteria" if status == "rejected" else None,
        "cohort": str(rng.randint(2021, 2025)),
        "cohort_suffix": rng.choice("abc"),
        "teacher_catchment_country": "United Kingdom of Great Britain and Northern Ireland",
        "teacher_catchment_iso_country_code": "GBR",
        "itt_provider": "University of Southampton",
        "funded_place": rng.random() < 0.5 if status == "accepted" else None,
        "schedule_identifier": rng.choice(text.SCHEDULES) if status == "accepted" else None,
    }


def _participant(rng: random.Random) -> dict[str, Any]:
    def enrolment(number: int) -> dict[str, Any]:
        status = rng.choice(("active", "active", "deferred", "withdrawn"))
        left = {"reason": "other", "date": instant(rng)}
        return {
            "course_identifier": rng.choice(text.COURSES),
            "schedule_identifier": rng.choice(text.SCHEDULES),
            "cohort": str(rng.randint(2021, 2025)),
            "cohort_suffix": "a",
            "npq_application_id": gap(f"application{number}"),
            "eligible_for_funding": rng.random() < 0.5,
            "training_status": status,
            "school_urn": urn(rng),
            "targeted_delivery_funding_eligibility": rng.random() < 0.5,
            "funded_place": rng.choice((True, False, None)),
            "email": email(rng),
            "withdrawal": left if status == "withdrawn" else None,
            "deferral": left if status == "deferred" else None,
            "created_at": instant(rng),
        }

    change = {"from_participant_id": gap("id"), "to_participant_id": gap("id"), "changed_at": instant(rng)}
    return {
        "full_name": person(rng),
        "previous_names": [person(rng) for _ in range(rng.choice((0, 0, 1, 2)))],
        "teacher_reference_number": reference_number(rng),
        "npq_enrolments": [enrolment(number) for number in range(rng.choice((0, 1, 1, 2)))],
        "participant_id_changes": [change] if rng.random() < 0.1 else [],
    }


def _outcome(rng: random.Random) -> dict[str, Any]:
    return {
        "state": rng.choice(("passed", "failed", "voided")),
        "completion_date": f"{day(rng)}T00:00:00+00:00",
        "course_identifier": rng.choice(text.COURSES),
        "participant_id": gap("participant_id"),
    }


def _declaration(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(("started", "retained-1", "retained-2", "completed"))
    return {
        "participant_id": gap("participant_id"),
        "application_id": gap("application_id"),
        "declaration_type": kind,
        "course_identifier": rng.choice(text.COURSES),
        "declaration_date": instant(rng),
        "state": rng.choice(("submitted", "eligible", "payable", "paid", "voided", "awaiting-clawback", "clawed_back")),
        "has_passed": rng.random() < 0.5 if kind == "completed" else None,
        "lead_provider_name": "Example Institute",
    }


def _statement(rng: random.Random) -> dict[str, Any]:
    return {
        "month": rng.choice(text.MONTHS),
        "year": str(rng.randint(2021, 2025)),
        "cohort": str(rng.randint(2021, 2025)),
        "payment_date": gap("payment_date"),
    }


def _delivery_partner(rng: random.Random) -> dict[str, Any]:
    first = rng.randint(2021, 2024)
    return {"name": gap("name"), "cohort": list(range(first, rng.randint(first, 2025) + 1))}


_OVERLAYS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "npq-applications": _application,
    "participants-npq": _participant,
    "participants-npq-outcomes": _outcome,
    "participant-declarations": _declaration,
    "statements": _statement,
    "delivery-partners": _delivery_partner,
    "participants": early_careers.participant,
    "participants-transfers": early_careers.transfers,
    "unfunded-mentors": early_careers.unfunded_mentor,
    "partnerships": early_careers.partnership,
    "schools": early_careers.school,
}


def _overlay(name: str, types: Mapping[str, FieldType]) -> Callable[[random.Random], dict[str, Any]]:
    """What makes the records of an endpoint plausible; the services differ in what they call by one name."""
    if name == "participant-declarations" and "evidence_held" in types:
        return early_careers.declaration
    if name == "delivery-partners" and types.get("cohort") == ListOf(Kind.STRING):
        return early_careers.delivery_partner
    if name.startswith("participants-ecf") and "training_record_id" in types:
        return early_careers.trained_person
    return _OVERLAYS.get(name, _plain)
