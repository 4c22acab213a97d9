"""What a second conversion of an endpoint does otherwise than the first, and what was counted in finding it out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bulk_export.duplicates import Occurrence
from bulk_export.model import PageKey

_MOST = 2**53

LeftOut = Mapping[PageKey, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Revision:
    """Rows to leave out, by page, and pages of further sweeps to add at the end.

    `duplicates` counts rows of the first sweep that repeat one of it, `swept_again` the further sweeps. From those
    come `recovered` records that the first had missed and `changed` ones, in their newest version; `gone` counts
    records that the last sweep did not have any more. `settled` says whether the sweeps left no doubt.
    """

    left_out: LeftOut
    duplicates: int
    late: tuple[PageKey, ...] = ()
    swept_again: int = 0
    recovered: int = 0
    changed: int = 0
    gone: int = 0
    settled: bool = False

    @property
    def alters(self) -> bool:
        """Whether other rows are written than before."""
        return bool(self.left_out or self.late)

    def to_text(self) -> str:
        """As JSON, for the journal."""
        rows = [[key.sweep, key.page, sorted(rows)] for key, rows in sorted(self.left_out.items())]
        late = [[key.sweep, key.page] for key in self.late]
        counts = [self.duplicates, self.swept_again, self.recovered, self.changed, self.gone, self.settled]
        return json.dumps([rows, late, counts])

    @classmethod
    def from_text(cls, endpoint: str, text: str) -> Revision:
        """What `to_text` gave. Raises ValueError and TypeError for anything else."""
        rows, late, (duplicates, swept_again, recovered, changed, gone, settled) = json.loads(text)
        _check_counts(duplicates, swept_again, recovered, changed, gone)
        _check_counts(*(number for sweep, page, left_out in rows for number in (sweep, page, *left_out)))
        _check_counts(*(number for sweep, page in late for number in (sweep, page)))
        if type(settled) is not bool:
            raise TypeError("neither settled nor not")
        return cls(
            {PageKey(endpoint, sweep, page): frozenset(left_out) for sweep, page, left_out in rows},
            duplicates,
            tuple(PageKey(endpoint, sweep, page) for sweep, page in late),
            swept_again,
            recovered,
            changed,
            gone,
            settled,
        )


@dataclass(slots=True)
class Ballot:
    """Collects, for records that not every sweep saw alike, which sighting of each is written.

    `last` is the number of the last sweep. With `drop_gone`, records that it did not see are not written.
    """

    last: int
    drop_gone: bool
    left_out: dict[PageKey, set[int]] = field(default_factory=dict)
    taken: dict[PageKey, set[int]] = field(default_factory=dict)
    duplicates: int = 0
    recovered: int = 0
    changed: int = 0
    gone: int = 0

    def decide(self, occurrences: Iterable[Occurrence]) -> None:
        """Take in all sightings of some records: the newest version of each is written.

        Where versions are equal or unknown, the latest sweep that saw another content has the newest one, and
        the first place within a sweep counts.
        """
        sightings: dict[str, list[Occurrence]] = {}
        for occurrence in sorted(occurrences, key=lambda one: (one.page.sweep, one.page.page, one.row)):
            sightings.setdefault(occurrence.id, []).append(occurrence)
        for seen in sightings.values():
            self._decide_one(seen)

    def _decide_one(self, seen: list[Occurrence]) -> None:
        chosen = seen[0]
        for sighting in seen[1:]:
            if _supersedes(sighting, chosen):
                chosen = sighting
        first = [sighting for sighting in seen if sighting.page.sweep == 0]
        is_gone = seen[-1].page.sweep < self.last
        self.gone += is_gone
        self.duplicates += max(0, len(first) - 1)
        written = not (is_gone and self.drop_gone)
        for sighting in first:
            if sighting is not chosen or not written:
                self.left_out.setdefault(sighting.page, set()).add(sighting.row)
        if written and chosen.page.sweep > 0:
            self.taken.setdefault(chosen.page, set()).add(chosen.row)
            self.changed += bool(first)
            self.recovered += not first


def _check_counts(*numbers: object) -> None:
    if not all(type(number) is int and 0 <= number < _MOST for number in numbers):
        raise ValueError("no counts")


def _supersedes(sighting: Occurrence, chosen: Occurrence) -> bool:
    if sighting.version is not None and chosen.version is not None and sighting.version != chosen.version:
        return sighting.version > chosen.version
    return sighting.page.sweep > chosen.page.sweep and sighting.content != chosen.content
