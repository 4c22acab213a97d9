"""Record number i of an endpoint: a pure function of the seed, so that millions need no memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from bulk_export.core.model import Endpoint, Kind
from bulk_export.services.local.templates import VARIANTS, variants

# Records come in groups with one creation time, of a size that no usual page size is a multiple of.
TIE = 7
_BEGAN = datetime(2021, 9, 1, tzinfo=UTC)
_BEGAN_SECONDS = int(_BEGAN.timestamp())
_STEP = 11
_FIRST_COUNT = 1_000
_FIRST_PAYMENT = date(2021, 9, 25)
_MASK = (1 << 48) - 1
# One person in ten is trained as a teacher and as a mentor.
_TWIN_EVERY = 11
_REFERS_TO = {
    "delivery_partner_id": "delivery-partners",
    "school_id": "schools",
    "statement_id": "statements",
}


class RecordFactory:
    """Renders the records of one endpoint.

    `people` and `applications` are how many there are to refer to, `counts` says so of other endpoints by name.
    `people_in` is the endpoint that lists the people. Where more than the id identifies a record, some people stand
    in it twice.
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
    ) -> None:
        self._variants = variants(endpoint, seed)
        self._type = endpoint.record_type
        self._counts = endpoint.shape.id_type is Kind.INTEGER
        self._seed = seed
        self._people = max(1, people)
        self._applications = max(1, applications)
        self._salt = _salt(endpoint.name)
        self._people_in = people_in
        self._counted = counts
        self._has_twins = bool(endpoint.shape.identity)

    def record(self, number: int, version: int, created_at: int, updated_at: int) -> str:
        """The JSON text of a record. `version` counts its changes; times are in seconds since the epoch."""
        person = _first_of_twins(number) if self._has_twins else number
        template = self._variants[(person * 31 + version * 7) % VARIANTS]
        parts = list(template)
        for position in range(1, len(parts), 2):
            parts[position] = f'"{self._fill(parts[position], number, created_at, updated_at)}"'
        return f'{{"id":"{self.id(number)}","type":"{self._type}","attributes":{"".join(parts)}}}'

    def id(self, number: int) -> str:
        """A UUID, or a number where those are described; ids ascend within a group of equal creation times."""
        if self._counts:
            return str(_FIRST_COUNT + number)
        return _uuid(_first_of_twins(number) if self._has_twins else number, self._salt + self._seed)

    def created_at(self, number: int) -> int:
        """When a record was made that is there from the start, in seconds since the epoch."""
        return _BEGAN_SECONDS + number // TIE * _STEP

    def updated_at(self, number: int) -> int:
        """When such a record was last changed; every third one was, some time after it was made."""
        return self.created_at(number) + (number * 7919 % 5_000_000 if number % 3 == 0 else 0)

    def participant_of(self, number: int) -> str:
        """Whose record this is: two of three people have one application, the third has two."""
        person = number * 2 // 3 % self._people
        shown = person if self._people_in == "participants-npq" else _first_of_twins(person)
        return _uuid(shown, _salt(self._people_in) + self._seed)

    def _fill(self, gap: str, number: int, created_at: int, updated_at: int) -> str:
        if gap == "id":
            return self.id(number)
        if gap == "created_at":
            return _shown(created_at, number)
        if gap == "updated_at":
            return _shown(updated_at, number)
        if gap == "participant_id":
            return self.participant_of(number)
        if gap == "application_id":
            return _uuid(number % self._applications, _salt("npq-applications") + self._seed)
        if gap == "payment_date":
            return payment_date(number).isoformat()
        if gap == "name":
            return partner_name(number)
        if gap == "participant_type":
            is_first = number + 1 != _first_of_twins(number + 1)
            return "ect" if is_first or (number == _first_of_twins(number) and number % 3) else "mentor"
        if gap == "former_id":
            return _uuid(number, self._salt + self._seed + 1)
        if gap in _REFERS_TO:
            name = _REFERS_TO[gap]
            return _uuid(number % max(1, self._counted.get(name, 0)), _salt(name) + self._seed)
        if gap.startswith("training_record"):
            training = 2 * number + int(gap.removeprefix("training_record"))
            return _uuid(training, _salt("trainings") + self._salt + self._seed)
        first = -(-3 * number // 2)
        return _uuid(
            (first + int(gap.removeprefix("application"))) % self._applications, _salt("npq-applications") + self._seed
        )


def payment_date(number: int) -> date:
    """The order of statements: a few share a day."""
    return _FIRST_PAYMENT + timedelta(days=number // TIE)


def partner_name(number: int) -> str:
    """The order of delivery partners: a few share a name."""
    return f"Delivery Partner {number // TIE:07} & Söhne"


def _first_of_twins(number: int) -> int:
    """The number of the record that shows the same person first."""
    return number - (number % _TWIN_EVERY == _TWIN_EVERY - 1)


def _salt(endpoint: str) -> int:
    return sum(endpoint.encode()) + 1


def _uuid(number: int, salt: int) -> str:
    group, place = divmod(number, TIE)
    scattered = (group * 0x9E3779B1 + salt * 0x85EBCA6B) & 0xFFFFFFFF
    # Multiplying by an odd number permutes the 48-bit numbers: no two records share an id.
    tail = (number * 0x5DEECE66D + salt) & _MASK
    return f"{scattered:08x}-{place:04x}-4{salt & 0xFFF:03x}-a{(number >> 48) & 0xFFF:03x}-{tail:012x}"


def _shown(seconds: int, number: int) -> str:
    return _moment(seconds) + (".000Z" if number % 4 == 0 else "Z")


@functools.lru_cache(maxsize=4_096)
def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
