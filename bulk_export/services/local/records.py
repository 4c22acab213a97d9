"""Record number n of an endpoint, as a pure function of n and a seed: millions of records need no memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from bulk_export.core.model import Endpoint, Kind
from bulk_export.services.local.templates import TEMPLATE_COUNT, record_templates
from bulk_export.services.local.timeline import TIE_SIZE, Timeline

_FIRST_INTEGER_ID = 1_000
_MASK = (1 << 48) - 1
# Every eleventh record is the second one of a person: one in ten people is both a teacher and a mentor.
_TWIN_EVERY = 11
_REFERS_TO = {
    "delivery_partner_id": "delivery-partners",
    "school_id": "schools",
    "statement_id": "statements",
}


class RecordFactory:
    """Makes the records of one endpoint.

    If an endpoint has an identity beside the id, some people have two records with the same id.

    Args:
        endpoint: The endpoint.
        seed: Decides the content of the records.
        people: The number of people that records refer to.
        applications: The number of applications that records refer to.
        people_in: The endpoint that lists the people.
        counts: The numbers of records of other endpoints that records refer to, by name.
        timeline: When its records were created and changed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        seed: int,
        *,
        people: int,
        applications: int,
        people_in: str = "participants-npq",
        counts: Mapping[str, int] = MappingProxyType({}),
        timeline: Timeline = Timeline(),  # noqa: B008  # it is a value
    ) -> None:
        self.timeline = timeline
        self._templates = record_templates(endpoint, seed, timeline.last_cohort)
        self._type = endpoint.record_type
        self._has_integer_ids = endpoint.shape.id_type is Kind.INTEGER
        self._seed = seed
        self._people = max(1, people)
        self._applications = max(1, applications)
        self._salt = _salt(endpoint.name)
        self._people_in = people_in
        self._counts = counts
        self._has_twins = bool(endpoint.shape.identity)

    def record(self, number: int, version: int, created_at: int, updated_at: int) -> str:
        """Return the JSON text of a record after `version` changes. Times are in seconds since the epoch."""
        person = _first_of_twins(number) if self._has_twins else number
        template = self._templates[(person * 31 + version * 7) % TEMPLATE_COUNT]
        parts = list(template)
        for position in range(1, len(parts), 2):
            parts[position] = f'"{self._placeholder_value(parts[position], number, created_at, updated_at)}"'
        return f'{{"id":"{self.id(number)}","type":"{self._type}","attributes":{"".join(parts)}}}'

    def id(self, number: int) -> str:
        """Return the id, a UUID or a number as described; ids ascend within a group with one creation time."""
        if self._has_integer_ids:
            return str(_FIRST_INTEGER_ID + number)
        return _uuid(_first_of_twins(number) if self._has_twins else number, self._salt + self._seed)

    def created_at(self, number: int) -> int:
        """Return the creation time of an initial record, in seconds since the epoch."""
        return self.timeline.created_at(number)

    def updated_at(self, number: int) -> int:
        """Return the time of the last change of an initial record, later than its creation for every third one."""
        return self.timeline.updated_at(number)

    def participant_of(self, number: int) -> str:
        """Return the id of the person of an application: two of three people have one application, the third two."""
        person = number * 2 // 3 % self._people
        listed = person if self._people_in == "participants-npq" else _first_of_twins(person)
        return _uuid(listed, _salt(self._people_in) + self._seed)

    def _placeholder_value(self, name: str, number: int, created_at: int, updated_at: int) -> str:
        applications = _salt("npq-applications") + self._seed
        match name:
            case "id":
                return self.id(number)
            case "created_at":
                return _timestamp(created_at, number)
            case "updated_at":
                return _timestamp(updated_at, number)
            case "participant_id":
                return self.participant_of(number)
            case "application_id":
                return _uuid(number % self._applications, applications)
            case "payment_date":
                return self.timeline.payment_date(number, created_at).isoformat()
            case "name":
                return partner_name(number)
            case "participant_type":
                is_first = number + 1 != _first_of_twins(number + 1)
                return "ect" if is_first or (number == _first_of_twins(number) and number % 3) else "mentor"
            case "former_id":
                return _uuid(number, self._salt + self._seed + 1)
        if name in _REFERS_TO:
            endpoint = _REFERS_TO[name]
            return _uuid(number % max(1, self._counts.get(endpoint, 0)), _salt(endpoint) + self._seed)
        if name.startswith("training_record"):
            training = 2 * number + int(name.removeprefix("training_record"))
            return _uuid(training, _salt("trainings") + self._salt + self._seed)
        # The first application of a person, by the rule of `participant_of`.
        first = -(-3 * number // 2)
        return _uuid((first + int(name.removeprefix("application"))) % self._applications, applications)


def partner_name(number: int) -> str:
    """Return what delivery partners are ordered by: a few share a name."""
    return f"Delivery Partner {number // TIE_SIZE:07} & Söhne"


def _first_of_twins(number: int) -> int:
    """Return the number of the person's first record."""
    return number - (number % _TWIN_EVERY == _TWIN_EVERY - 1)


def _salt(endpoint: str) -> int:
    return sum(endpoint.encode()) + 1


def _uuid(number: int, salt: int) -> str:
    group, member = divmod(number, TIE_SIZE)
    scattered = (group * 0x9E3779B1 + salt * 0x85EBCA6B) & 0xFFFFFFFF
    # Multiplication by an odd number is a permutation of the 48-bit numbers, so no two records share an id.
    tail = (number * 0x5DEECE66D + salt) & _MASK
    return f"{scattered:08x}-{member:04x}-4{salt & 0xFFF:03x}-a{(number >> 48) & 0xFFF:03x}-{tail:012x}"


def _timestamp(seconds: int, number: int) -> str:
    return _instant(seconds) + (".000Z" if number % 4 == 0 else "Z")


@functools.lru_cache(maxsize=4_096)
def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
