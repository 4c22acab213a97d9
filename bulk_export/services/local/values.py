"""Random values for records."""

from __future__ import annotations

import random

from bulk_export.services.local import vocabulary
from bulk_export.services.local.timeline import FIRST_COHORT

_AWKWARD_SHARE = 0.04
_LAST_COHORT = 2025


class RecordRandom(random.Random):
    """Randomness for records, which knows the latest cohort that there is; None for records of 2021 to 2025."""

    last_cohort: int | None = None

    @classmethod
    def of(cls, seed: str, last_cohort: int | None) -> RecordRandom:
        """Return what a seed decides."""
        made = cls(seed)
        made.last_cohort = last_cohort
        return made


def cohort(rng: RecordRandom) -> int:
    """A cohort, by the year in which it begins."""
    return rng.randint(FIRST_COHORT, rng.last_cohort or _LAST_COHORT)


def cohorts(rng: RecordRandom) -> range:
    """The cohorts from one to another."""
    last = rng.last_cohort or _LAST_COHORT
    first = rng.randint(FIRST_COHORT, last - 1)
    return range(first, rng.randint(first, last) + 1)


def placeholder(name: str) -> str:
    """A mark in a template, replaced by a value when a record is made."""
    return f"\x01{name}\x01"


def instant(rng: random.Random) -> str:
    """A time in one of the two formats of the service."""
    moment = f"20{rng.randint(21, 25)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:21:32"
    return moment + rng.choice(("Z", ".000Z"))


def day(rng: random.Random) -> str:
    """A calendar day."""
    return instant(rng)[:10]


def words(rng: random.Random) -> str:
    """A text; sometimes one that careless programs cannot handle."""
    if rng.random() < _AWKWARD_SHARE:
        return rng.choice(vocabulary.AWKWARD)
    return f"{rng.choice(vocabulary.EMPLOYERS)} {rng.randint(1, 999)}"


def person(rng: random.Random) -> str:
    """A person's name; sometimes a text that careless programs cannot handle."""
    if rng.random() < _AWKWARD_SHARE:
        return rng.choice(vocabulary.AWKWARD)
    return f"{rng.choice(vocabulary.FIRST_NAMES)} {rng.choice(vocabulary.LAST_NAMES)}"


def email(rng: random.Random) -> str | None:
    """An email address; None for some."""
    return None if rng.random() < 0.05 else f"teacher.{rng.randint(1, 99_999)}@some-school.example.com"


def reference_number(rng: random.Random) -> str | None:
    """A teacher reference number; None for some."""
    return None if rng.random() < 0.05 else f"{rng.randint(0, 9_999_999):07}"


def urn(rng: random.Random) -> str:
    """The unique reference number of a school."""
    return str(rng.randint(100_000, 150_000))


def chance(rng: random.Random, rate: float) -> bool:
    """True with a probability of `rate`."""
    return rng.random() < rate
