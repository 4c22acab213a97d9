"""Made-up values for records, drawn from a generator that the seed decides."""

from __future__ import annotations

import random

from bulk_export.services.local import vocabulary as text

_AWKWARD_SHARE = 0.04


def gap(name: str) -> str:
    """Stands for a value that is filled in when a record is rendered."""
    return f"\x01{name}\x01"


def instant(rng: random.Random) -> str:
    """A time in one of the two forms that the service shows."""
    moment = f"20{rng.randint(21, 25)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:21:32"
    return moment + rng.choice(("Z", ".000Z"))


def day(rng: random.Random) -> str:
    """A calendar day."""
    return instant(rng)[:10]


def words(rng: random.Random) -> str:
    """A text, now and then one that breaks careless programs."""
    if rng.random() < _AWKWARD_SHARE:
        return rng.choice(text.AWKWARD)
    return f"{rng.choice(text.EMPLOYERS)} {rng.randint(1, 999)}"


def person(rng: random.Random) -> str:
    """A name, now and then a text that breaks careless programs."""
    if rng.random() < _AWKWARD_SHARE:
        return rng.choice(text.AWKWARD)
    return f"{rng.choice(text.FIRST_NAMES)} {rng.choice(text.LAST_NAMES)}"


def email(rng: random.Random) -> str | None:
    """An address, which some have not."""
    return None if rng.random() < 0.05 else f"teacher.{rng.randint(1, 99_999)}@some-school.example.com"


def reference_number(rng: random.Random) -> str | None:
    """The number of a teacher, which some have not."""
    return None if rng.random() < 0.05 else f"{rng.randint(0, 9_999_999):07}"


def urn(rng: random.Random) -> str:
    """The number of a school."""
    return str(rng.randint(100_000, 150_000))


def chance(rng: random.Random, rate: float) -> bool:
    """True at that rate."""
    return rng.random() < rate
