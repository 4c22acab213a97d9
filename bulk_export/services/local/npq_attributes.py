"""Plausible attributes of the records of the NPQ service."""

from __future__ import annotations

from typing import Any

from bulk_export.services.local import vocabulary
from bulk_export.services.local.values import (
    RecordRandom,
    cohort,
    cohorts,
    day,
    email,
    instant,
    person,
    placeholder,
    reference_number,
    urn,
    words,
)


def application(rng: RecordRandom) -> dict[str, Any]:
    """An application for a course, which is pending, accepted or rejected."""
    status = rng.choice(("pending", "accepted", "accepted", "accepted", "rejected"))
    return {
        "course_identifier": rng.choice(vocabulary.COURSES),
        "email": email(rng),
        "full_name": person(rng),
        "employment_role": words(rng),
        "funding_choice": rng.choice(("school", "trust", "self", "another", "employer", None)),
        "headteacher_status": rng.choice(("no", "yes_when_course_starts", "yes_in_first_two_years")),
        "ineligible_for_funding_reason": rng.choice((None, None, "previously-funded", "establishment-ineligible")),
        "participant_id": placeholder("participant_id"),
        "private_childcare_provider_urn": rng.choice((None, "EY944860")),
        "teacher_reference_number": reference_number(rng),
        "school_urn": urn(rng),
        "school_ukprn": str(rng.randint(10_000_000, 10_099_999)),
        "status": status,
        "reason_for_rejection": "Application does not meet eligibility criteria" if status == "rejected" else None,
        "cohort": str(cohort(rng)),
        "cohort_suffix": rng.choice("abc"),
        "teacher_catchment_country": "United Kingdom of Great Britain and Northern Ireland",
        "teacher_catchment_iso_country_code": "GBR",
        "itt_provider": "University of Southampton",
        "funded_place": rng.random() < 0.5 if status == "accepted" else None,
        "schedule_identifier": rng.choice(vocabulary.SCHEDULES) if status == "accepted" else None,
    }


def participant(rng: RecordRandom) -> dict[str, Any]:
    """A person with their enrolments."""

    def enrolment(number: int) -> dict[str, Any]:
        status = rng.choice(("active", "active", "deferred", "withdrawn"))
        ended = {"reason": "other", "date": instant(rng)}
        return {
            "course_identifier": rng.choice(vocabulary.COURSES),
            "schedule_identifier": rng.choice(vocabulary.SCHEDULES),
            "cohort": str(cohort(rng)),
            "cohort_suffix": "a",
            "npq_application_id": placeholder(f"application{number}"),
            "eligible_for_funding": rng.random() < 0.5,
            "training_status": status,
            "school_urn": urn(rng),
            "targeted_delivery_funding_eligibility": rng.random() < 0.5,
            "funded_place": rng.choice((True, False, None)),
            "email": email(rng),
            "withdrawal": ended if status == "withdrawn" else None,
            "deferral": ended if status == "deferred" else None,
            "created_at": instant(rng),
        }

    change = {
        "from_participant_id": placeholder("id"),
        "to_participant_id": placeholder("id"),
        "changed_at": instant(rng),
    }
    return {
        "full_name": person(rng),
        "previous_names": [person(rng) for _ in range(rng.choice((0, 0, 1, 2)))],
        "teacher_reference_number": reference_number(rng),
        "npq_enrolments": [enrolment(number) for number in range(rng.choice((0, 1, 1, 2)))],
        "participant_id_changes": [change] if rng.random() < 0.1 else [],
    }


def outcome(rng: RecordRandom) -> dict[str, Any]:
    """The outcome of a course."""
    return {
        "state": rng.choice(("passed", "failed", "voided")),
        "completion_date": f"{day(rng)}T00:00:00+00:00",
        "course_identifier": rng.choice(vocabulary.COURSES),
        "participant_id": placeholder("participant_id"),
    }


def declaration(rng: RecordRandom) -> dict[str, Any]:
    """A declaration that a milestone of a course was reached."""
    kind = rng.choice(("started", "retained-1", "retained-2", "completed"))
    return {
        "participant_id": placeholder("participant_id"),
        "application_id": placeholder("application_id"),
        "declaration_type": kind,
        "course_identifier": rng.choice(vocabulary.COURSES),
        "declaration_date": instant(rng),
        "state": rng.choice(("submitted", "eligible", "payable", "paid", "voided", "awaiting-clawback", "clawed_back")),
        "has_passed": rng.random() < 0.5 if kind == "completed" else None,
        "lead_provider_name": "Example Institute",
    }


def statement(rng: RecordRandom) -> dict[str, Any]:
    """A monthly statement of payments."""
    return {
        "month": rng.choice(vocabulary.MONTHS),
        "year": str(cohort(rng)),
        "cohort": str(cohort(rng)),
        "payment_date": placeholder("payment_date"),
    }


def delivery_partner(rng: RecordRandom) -> dict[str, Any]:
    """A delivery partner with the cohorts in which it may be chosen."""
    return {"name": placeholder("name"), "cohort": list(cohorts(rng))}
