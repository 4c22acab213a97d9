"""Plausible attributes of the records of the early-career services."""

from __future__ import annotations

from typing import Any

from bulk_export.services.local import vocabulary
from bulk_export.services.local.values import (
    RecordRandom,
    chance,
    cohort,
    cohorts,
    day,
    email,
    instant,
    person,
    placeholder,
    reference_number,
    urn,
)

_REASONS_FOR_LEAVING = (
    "left-teaching-profession",
    "moved-school",
    "mentor-no-longer-being-mentor",
    "switched-to-school-led",
    "other",
)
_STATES = ("submitted", "eligible", "payable", "paid", "voided", "awaiting-clawback", "clawed-back")
_EVENTS = ("started", *(f"retained-{number}" for number in range(1, 5)), "completed", "extended-1")
_EVIDENCE = ("training-event-attended", "self-study-material-completed", "other", None)


def _enrolment(rng: RecordRandom, number: int, kind: str) -> dict[str, Any]:
    status = rng.choice(("active", "active", "active", "deferred", "withdrawn"))
    ended = {"reason": rng.choice(_REASONS_FOR_LEAVING), "date": instant(rng)}
    has_ended, is_mentor = chance(rng, 0.3), kind == "mentor"
    return {
        "training_record_id": placeholder(f"training_record{number}"),
        "email": email(rng),
        "mentor_id": None if is_mentor else placeholder("participant_id"),
        "school_urn": urn(rng),
        "participant_type": kind,
        "working_pattern": None if is_mentor else rng.choice(("full_time", "part_time", None)),
        "cohort": str(cohort(rng)),
        "training_status": status,
        "participant_status": "withdrawn"
        if status == "withdrawn"
        else rng.choice(("active", "joining", "leaving", "left")),
        "eligible_for_funding": chance(rng, 0.9),
        "pupil_premium_uplift": chance(rng, 0.2),
        "sparsity_uplift": chance(rng, 0.1),
        "schedule_identifier": f"ecf-standard-{rng.choice(('january', 'april', 'september'))}",
        "delivery_partner_id": placeholder("delivery_partner_id"),
        "withdrawal": ended if status == "withdrawn" else None,
        "deferral": ended if status == "deferred" else None,
        "created_at": instant(rng),
        "induction_end_date": day(rng) if has_ended and not is_mentor else None,
        "most_recent_induction_period_end_date": day(rng) if has_ended and not is_mentor else None,
        "overall_induction_start_date": None if is_mentor else day(rng),
        "mentor_funding_end_date": day(rng) if has_ended and is_mentor else None,
        "cohort_changed_after_payments_frozen": chance(rng, 0.05),
        "mentor_ineligible_for_funding_reason": "completed_declaration_received" if has_ended and is_mentor else None,
    }


def participant(rng: RecordRandom) -> dict[str, Any]:
    """A person with one enrolment for each training: as a teacher, as a mentor, or both."""
    kinds = rng.choice((("ect",), ("ect",), ("mentor",), ("ect", "mentor")))
    merged = {
        "from_participant_id": placeholder("former_id"),
        "to_participant_id": placeholder("id"),
        "changed_at": instant(rng),
    }
    return {
        "full_name": person(rng),
        "teacher_reference_number": reference_number(rng),
        "ecf_enrolments": [_enrolment(rng, number, kind) for number, kind in enumerate(kinds)],
        "participant_id_changes": [merged] if chance(rng, 0.1) else [],
    }


def trained_person(rng: RecordRandom) -> dict[str, Any]:
    """One training of a person, as in ecf v1 and v2, where a teacher who is also a mentor has two records."""
    return {
        "email": email(rng),
        "full_name": person(rng),
        "participant_type": placeholder("participant_type"),
        "training_record_id": placeholder("training_record0"),
        "cohort": str(cohort(rng)),
        "training_status": rng.choice(("active", "active", "deferred", "withdrawn")),
    }


def transfers(rng: RecordRandom) -> dict[str, Any]:
    """The transfers of a person from one school or provider to another; an open one has no `joining`."""

    def transfer(number: int) -> dict[str, Any]:
        is_open = chance(rng, 0.3)
        joining = {"school_urn": urn(rng), "provider": rng.choice(vocabulary.EMPLOYERS), "date": day(rng)}
        return {
            "training_record_id": placeholder(f"training_record{number}"),
            "transfer_type": "unknown" if is_open else rng.choice(("new_school", "new_provider")),
            "status": "incomplete" if is_open else "complete",
            "created_at": instant(rng),
            "leaving": {"school_urn": urn(rng), "provider": rng.choice(vocabulary.EMPLOYERS), "date": day(rng)},
            "joining": None if is_open else joining,
        }

    return {"transfers": [transfer(number) for number in range(rng.choice((1, 1, 2)))]}


def unfunded_mentor(rng: RecordRandom) -> dict[str, Any]:
    """A mentor whose training is paid to another provider."""
    return {"full_name": person(rng), "email": email(rng), "teacher_reference_number": reference_number(rng)}


def partnership(rng: RecordRandom) -> dict[str, Any]:
    """A school with its delivery partner in one cohort."""
    return {
        "cohort": str(cohort(rng)),
        "urn": urn(rng),
        "school_id": placeholder("school_id"),
        "delivery_partner_id": placeholder("delivery_partner_id"),
        "delivery_partner_name": f"Delivery Partner {rng.randint(1, 99)}",
        "induction_tutor_name": person(rng),
        "induction_tutor_email": email(rng),
        "participants_currently_training": rng.randint(0, 40),
    }


def school(rng: RecordRandom) -> dict[str, Any]:
    """A school in one cohort."""
    return {
        "name": rng.choice(vocabulary.EMPLOYERS),
        "urn": urn(rng),
        "cohort": str(cohort(rng)),
        "induction_programme_choice": rng.choice(("school_led", "provider_led", "not_yet_known")),
        "induction_tutor_name": person(rng),
        "induction_tutor_email": email(rng),
    }


def declaration(rng: RecordRandom) -> dict[str, Any]:
    """A declaration that a milestone of a training was reached; a voided one is on no statement."""
    state = rng.choice(_STATES)
    is_clawed_back = state in ("awaiting-clawback", "clawed-back")
    return {
        "participant_id": placeholder("participant_id"),
        "declaration_type": rng.choice(_EVENTS),
        "declaration_date": instant(rng),
        "course_identifier": rng.choice(("ecf-induction", "ecf-mentor")),
        "state": state,
        "delivery_partner_id": placeholder("delivery_partner_id"),
        "statement_id": None if state in ("voided", "submitted") else placeholder("statement_id"),
        "clawback_statement_id": placeholder("statement_id") if is_clawed_back else None,
        "ineligible_for_funding_reason": rng.choice((None, None, None, "duplicate_declaration")),
        "mentor_id": rng.choice((None, placeholder("participant_id"))),
        "uplift_paid": chance(rng, 0.2),
        "evidence_held": rng.choice(_EVIDENCE),
        "lead_provider_name": "Example Institute",
    }


def delivery_partner(rng: RecordRandom) -> dict[str, Any]:
    """A delivery partner with the cohorts in which it may be chosen."""
    return {"name": placeholder("name"), "cohort": list(map(str, cohorts(rng)))}
