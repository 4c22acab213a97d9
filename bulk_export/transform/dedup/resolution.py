"""What a second conversion of an endpoint does otherwise than the first, and what was counted in finding it out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bulk_export.core.model import PageKey
from bulk_export.transform.dedup.fingerprints import Occurrence, by_content, in_order, largest_answer

# How many numbers the text of a revision ends with.
_COUNTS = 7
_MOST = 2**53

ExcludedListing = Mapping[PageKey, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Corrections:
    """Rows to leave out, by page, and pages of further sweeps to add at the end.

    `duplicates` counts rows of the first sweep that repeat one of it, `swept_again` the further sweeps. From those
    come `recovered` records that the first had missed and `changed` ones, in their newest version; `gone` counts
    records that the last sweep did not have any more. `settled` says whether the sweeps left no doubt. `shared` counts
    records whose identity another record of the same answer has, too.
    """

    left_out: ExcludedListing
    duplicates: int
    late: tuple[PageKey, ...] = ()
    swept_again: int = 0
    recovered: int = 0
    changed: int = 0
    gone: int = 0
    settled: bool = False
    shared: int = 0

    @property
    def alters(self) -> bool:
        """Whether other rows are written than before."""
        return bool(self.left_out or self.late)

    def to_text(self) -> str:
        """As JSON, for the journal."""
        rows = [[key.sweep, key.page, sorted(rows)] for key, rows in sorted(self.left_out.items())]
        late = [[key.sweep, key.page] for key in self.late]
        counts = [self.duplicates, self.swept_again, self.recovered, self.changed, self.gone, self.settled, self.shared]
        return json.dumps([rows, late, counts])

    @classmethod
    def from_text(cls, endpoint: str, text: str) -> Corrections:
        """What `to_text` gave, in earlier versions without the number of shared identities.

        Raises ValueError and TypeError for anything else.
        """
        rows, late, (duplicates, swept_again, recovered, changed, gone, settled, *shared) = json.loads(text)
        _check_counts(duplicates, swept_again, recovered, changed, gone, *shared)
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
            *shared,
        )


def is_outdated(text: str) -> bool:
    """Whether a revision was made by a version that left out records which share an identity, and can be made anew.

    Those that rest on further sweeps cannot, unless the service is asked again.
    """
    _, _, (_, swept_again, *others) = json.loads(text)
    return len(others) < _COUNTS - 2 and not swept_again


@dataclass(slots=True)
class ConflictResolver:
    """Collects, for records that not every sweep saw alike, which sighting of each is written.

    `last` is the number of the last sweep. With `drop_gone`, records that it did not see are not written. If each sweep
    `is_one_answer`, all of its pages show one moment; otherwise each page does. Records that nothing identifies do not
    count as `duplicates` here.
    """

    last: int
    drop_gone: bool
    is_one_answer: bool = False
    left_out: dict[PageKey, set[int]] = field(default_factory=dict)
    taken: dict[PageKey, set[int]] = field(default_factory=dict)
    duplicates: int = 0
    recovered: int = 0
    changed: int = 0
    gone: int = 0

    def decide(self, occurrences: Iterable[Occurrence]) -> None:
        """Take in all sightings of some records: the newest version of each is written.

        Where versions are equal or unknown, the latest sweep that saw another content has the newest one, and
        the first place within a sweep counts. Records that share an identity, and those that have none, are told apart
        by their content: each is written as often as a sweep proved it to be there.
        """
        sightings: dict[str | bytes, list[Occurrence]] = {}
        for occurrence in in_order(occurrences):
            sightings.setdefault(occurrence.id, []).append(occurrence)
        for identity, seen in sightings.items():
            if isinstance(identity, str) and not self._are_several(seen):
                self._decide_one(seen)
            else:
                for copies in by_content(seen):
                    self._decide_copies(copies)

    def _are_several(self, seen: Sequence[Occurrence]) -> bool:
        """Whether several records have this identity.

        One answer shows them together, or two sweeps, one after the other, show the same two contents: a record that
        changed does not change back.
        """
        sweeps = list(_by_sweep(seen).values())
        if any(len(self._at_once(one)) > 1 for one in sweeps):
            return True
        contents = Counter(content for one in sweeps for content in {sighting.content for sighting in one})
        often = {content for content, count in contents.items() if count > 1}
        return any(
            len(often & {sighting.content for sighting in one} & {sighting.content for sighting in other}) > 1
            for place, one in enumerate(sweeps)
            for other in sweeps[place + 1 :]
        )

    def _at_once(self, seen: Sequence[Occurrence]) -> Sequence[Occurrence]:
        """Those sightings of a sweep that one answer showed, where it showed most of them."""
        return seen if self.is_one_answer else largest_answer(seen)

    def _decide_copies(self, seen: Sequence[Occurrence]) -> None:
        """Decide on records that hold the same, and are no versions of one another."""
        sweeps = _by_sweep(seen)
        if isinstance(seen[0].id, str):
            proven = {sweep: self._at_once(sightings) for sweep, sightings in sweeps.items()}
        else:
            proven = dict(sweeps)
        most = max(map(len, proven.values()))
        gone = most - len(proven.get(self.last, ()))
        wanted = most - gone if self.drop_gone else most
        first, kept = sweeps.get(0, []), proven.get(0, [])[:wanted]
        self.gone += gone
        if first and isinstance(first[0].id, str):
            self.duplicates += len(first) - len(self._at_once(first))
        places = {(one.page, one.row) for one in kept}
        for sighting in first:
            if (sighting.page, sighting.row) not in places:
                self.left_out.setdefault(sighting.page, set()).add(sighting.row)
        if wanted > len(kept):
            fullest = max(sweep for sweep, sightings in proven.items() if len(sightings) >= wanted)
            for sighting in proven[fullest][: wanted - len(kept)]:
                self.taken.setdefault(sighting.page, set()).add(sighting.row)
                self.recovered += 1

    def _decide_one(self, seen: Sequence[Occurrence]) -> None:
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


def _by_sweep(seen: Sequence[Occurrence]) -> dict[int, list[Occurrence]]:
    sweeps: dict[int, list[Occurrence]] = {}
    for sighting in seen:
        sweeps.setdefault(sighting.page.sweep, []).append(sighting)
    return sweeps


def _check_counts(*numbers: object) -> None:
    if not all(type(number) is int and 0 <= number < _MOST for number in numbers):
        raise ValueError("no counts")


def _supersedes(sighting: Occurrence, chosen: Occurrence) -> bool:
    if sighting.version is not None and chosen.version is not None and sighting.version != chosen.version:
        return sighting.version > chosen.version
    return sighting.page.sweep > chosen.page.sweep and sighting.content != chosen.content
