"""The records of the local service are a pure function of their number and the seed."""

from __future__ import annotations

import json

from bulk_export.services.catalogue import load_service
from bulk_export.services.local.records import RecordFactory
from bulk_export.services.local.templates import TEMPLATE_COUNT, record_templates

NPQ = load_service("npq")


def record(endpoint: str, number: int, seed: int = 0) -> str:
    (described,) = [one for one in NPQ if one.name == endpoint]
    factory = RecordFactory(described, seed, people=100, applications=100)
    return factory.record(number, 0, factory.created_at(number), factory.updated_at(number))


def test_same_number_and_seed_give_the_same_record() -> None:
    assert record("npq-applications", 41) == record("npq-applications", 41)
    assert record("npq-applications", 41) != record("npq-applications", 41, seed=1)


def test_every_described_field_is_there_and_no_placeholder_is_left() -> None:
    for endpoint in NPQ:
        text = record(endpoint.name, 3)
        made = json.loads(text)
        assert list(made) == ["id", "type", "attributes"]
        assert set(made["attributes"]) == {field.name for field in endpoint.fields}
        assert "\\u0001" not in text
        assert "\x01" not in text


def test_templates_alternate_text_and_placeholders() -> None:
    templates = record_templates(NPQ.endpoints[0], 0)
    assert len(templates) == TEMPLATE_COUNT
    assert all(len(template) % 2 for template in templates)
    assert {name for template in templates for name in template[1::2]} == {"participant_id", "created_at", "updated_at"}
