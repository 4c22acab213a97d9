"""Decides which version of a record is written if it occurs more than once.

An endpoint is converted once. If a record occurs twice in the first sweep (`rows_to_exclude`), or further sweeps saw
other records than the first (`ConflictResolver`), the result is `Corrections`, with which it is converted again.

Three rules:

1. A response shows one moment, so what it shows twice are two records. An identity that is twice in one response is
   shared: it does not identify.
2. Records of one identity that is not shared are versions of one record. The newest by `updated_at` is written.
3. Records with a shared identity, or without one, are distinguished by their content alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import xxhash

from bulk_export.core.model import PageKey
from bulk_export.transform.decode import Key

# How many numbers the stored text of corrections ends with.
_COUNTS = 7
_COUNT_LIMIT = 2**53

ExcludedRows = Mapping[PageKey, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One record on one page.

    Attributes:
        id: The identity of the record; a digest of all of it, in bytes, if it has none.
        page: The page.
        row: Its position on the page, from 0.
        version: A number that is greater for newer versions; None if the record has no `updated_at`.
        content: A fingerprint of the text of the record.
    """

    id: Key
    page: PageKey
    row: int
    version: float | None
    content: int = 0

    @classmethod
    def of(cls, key: Key, page: PageKey, row: int, version: float | None, content: int) -> Occurrence:
        """Make an occurrence from the key of a record, and keep only a digest of a key that is the record itself."""
        return cls(key if isinstance(key, str) else xxhash.xxh3_128_digest(key), page, row, version, content)


@dataclass(frozen=True, slots=True)
class Repeats:
    """What to do about records that occur more than once in the first sweep.

    Attributes:
        excluded: Rows that are not written.
        duplicates: How many rows were in an earlier response already.
        shared: How many records share their identity with another record of the same response.
        unexplained: Whether a record occurs twice although, by its own times, it was not updated in between.
    """

    excluded: ExcludedRows
    duplicates: int
    shared: int
    unexplained: bool


@dataclass(frozen=True, slots=True)
class Corrections:
    """How the second conversion of an endpoint differs from the first, and what was counted to find out.

    Attributes:
        excluded: Rows that are not written.
        duplicates: How many rows of the first sweep repeat another one of it.
        extra_pages: Pages of further sweeps, which are written at the end.
        swept_again: The number of further sweeps.
        recovered: How many records of those sweeps the first one had missed.
        changed: How many records are written in a newer version from those sweeps.
        gone: How many records the last sweep did not have any more.
        settled: Whether the sweeps agreed in the end.
        shared: How many records share their identity with another record of the same response.
    """

    excluded: ExcludedRows
    duplicates: int
    extra_pages: tuple[PageKey, ...] = ()
    swept_again: int = 0
    recovered: int = 0
    changed: int = 0
    gone: int = 0
    settled: bool = False
    shared: int = 0

    @property
    def change_rows(self) -> bool:
        """Whether other rows are written than in the first conversion."""
        return bool(self.excluded or self.extra_pages)

    def to_text(self) -> str:
        """Write the corrections as JSON, for the journal."""
        rows = [[key.sweep, key.page, sorted(rows)] for key, rows in sorted(self.excluded.items())]
        extra_pages = [[key.sweep, key.page] for key in self.extra_pages]
        counts = [self.duplicates, self.swept_again, self.recovered, self.changed, self.gone, self.settled, self.shared]
        return json.dumps([rows, extra_pages, counts])

    @classmethod
    def from_text(cls, endpoint: str, text: str) -> Corrections:
        """Read what `to_text` wrote. Earlier versions wrote no number of shared identities.

        Raises:
            ValueError, TypeError: The text is something else.
        """
        rows, extra_pages, (duplicates, swept_again, recovered, changed, gone, settled, *shared) = json.loads(text)
        _check_counts(duplicates, swept_again, recovered, changed, gone, *shared)
        _check_counts(*(number for sweep, page, excluded in rows for number in (sweep, page, *excluded)))
        _check_counts(*(number for sweep, page in extra_pages for number in (sweep, page)))
        if type(settled) is not bool:
            raise TypeError("neither settled nor not")
        return cls(
            {PageKey(endpoint, sweep, page): frozenset(excluded) for sweep, page, excluded in rows},
            duplicates,
            tuple(PageKey(endpoint, sweep, page) for sweep, page in extra_pages),
            swept_again,
            recovered,
            changed,
            gone,
            settled,
            *shared,
        )


def is_outdated(text: str) -> bool:
    """Whether corrections were made by a version that excluded records which share an identity, and can be made again.

    Those that rest on further sweeps cannot: the service would have to be asked again.
    """
    _, _, (_, swept_again, *others) = json.loads(text)
    return len(others) < _COUNTS - 2 and not swept_again


def rows_to_exclude(occurrences: Iterable[Occurrence], *, is_one_response: bool = False) -> Repeats:
    """Choose one of the occurrences of each record in the first sweep; the others are excluded.

    Args:
        occurrences: All occurrences of the records in question, in any order.
        is_one_response: Whether all pages come from one response; otherwise each page is a response of its own.
    """
    groups: dict[Key, list[Occurrence]] = {}
    for occurrence in _in_order(occurrences):
        groups.setdefault(occurrence.id, []).append(occurrence)
    with_id = [group for key, group in groups.items() if isinstance(key, str)]
    # Case 1: a single response. Nothing in it is a repetition.
    if is_one_response:
        return Repeats({}, 0, sum(len(group) for group in with_id if len(group) > 1), unexplained=False)
    shared = sum(most for group in with_id if (most := len(_most_in_one_response(group))) > 1)
    excluded: list[Occurrence] = []
    unexplained = False
    for group in with_id:
        unexplained = unexplained or _is_unexplained(group)
        if shared:
            # Case 2: identities of this endpoint are shared. Each content is written as often as one response had it.
            excluded.extend(
                occurrence
                for copies in _by_content(group)
                for occurrence in _others(copies, _most_in_one_response(copies))
            )
        else:
            # Case 3: identities identify. The newest version is written, the first of equally new ones.
            excluded.extend(_others(group, [_newest(group)]))
    # Case 4: records without an identity. Two of them may hold the same, so they are counted and all written.
    repeated_without_id = sum(
        len(group) - len(_most_in_one_response(group)) for key, group in groups.items() if isinstance(key, bytes)
    )
    rows: dict[PageKey, set[int]] = {}
    for occurrence in excluded:
        rows.setdefault(occurrence.page, set()).add(occurrence.row)
    return Repeats(
        {page: frozenset(on_page) for page, on_page in rows.items()},
        duplicates=len(excluded) + repeated_without_id,
        shared=shared,
        unexplained=unexplained or repeated_without_id > 0,
    )


@dataclass(slots=True)
class ConflictResolver:
    """Chooses which occurrences are written, for records that differ between sweeps.

    Args:
        last: The number of the last sweep.
        drop_gone: Whether records that the last sweep did not see are excluded.
        is_one_response: Whether all pages of a sweep come from one response; otherwise each page is one.

    Attributes:
        excluded: Rows of the first sweep that are not written, by page.
        chosen: Rows of further sweeps that are written, by page.
        duplicates: How many rows of the first sweep repeat another one; records without identity are not counted here.
        recovered, changed, gone: As in `Corrections`.
    """

    last: int
    drop_gone: bool
    is_one_response: bool = False
    excluded: dict[PageKey, set[int]] = field(default_factory=dict)
    chosen: dict[PageKey, set[int]] = field(default_factory=dict)
    duplicates: int = 0
    recovered: int = 0
    changed: int = 0
    gone: int = 0

    def resolve(self, occurrences: Iterable[Occurrence]) -> None:
        """Choose among the occurrences of some records; all occurrences of a record must come in one call."""
        groups: dict[Key, list[Occurrence]] = {}
        for occurrence in _in_order(occurrences):
            groups.setdefault(occurrence.id, []).append(occurrence)
        for key, group in groups.items():
            if isinstance(key, str) and not self._is_shared(group):
                self._choose_version(group)
            else:
                for copies in _by_content(group):
                    self._choose_copies(copies)

    def _is_shared(self, group: Sequence[Occurrence]) -> bool:
        """Whether several records have this identity."""
        sweeps = list(_by_sweep(group).values())
        # Case 1: one response has it twice.
        if any(len(self._in_one_response(sweep)) > 1 for sweep in sweeps):
            return True
        # Case 2: two sweeps, one after the other, saw the same two contents. A record that changed does not change
        # back.
        sweeps_with = Counter(content for sweep in sweeps for content in {occurrence.content for occurrence in sweep})
        repeated = {content for content, count in sweeps_with.items() if count > 1}
        return any(
            len(repeated & {occurrence.content for occurrence in sweep} & {occurrence.content for occurrence in later})
            > 1
            for index, sweep in enumerate(sweeps)
            for later in sweeps[index + 1 :]
        )

    def _in_one_response(self, occurrences: Sequence[Occurrence]) -> Sequence[Occurrence]:
        """The occurrences of a sweep that one response showed, for the response that showed most."""
        return occurrences if self.is_one_response else _most_in_one_response(occurrences)

    def _choose_version(self, group: Sequence[Occurrence]) -> None:
        """Choose the newest version of one record.

        If versions are equal or unknown, it is the content that was seen last; within a sweep, the first row.
        """
        newest = group[0]
        for occurrence in group[1:]:
            if _supersedes(occurrence, newest):
                newest = occurrence
        first_sweep = [occurrence for occurrence in group if occurrence.page.sweep == 0]
        is_gone = group[-1].page.sweep < self.last
        self.gone += is_gone
        self.duplicates += max(0, len(first_sweep) - 1)
        is_written = not (is_gone and self.drop_gone)
        for occurrence in first_sweep:
            if occurrence is not newest or not is_written:
                self.excluded.setdefault(occurrence.page, set()).add(occurrence.row)
        if is_written and newest.page.sweep > 0:
            self.chosen.setdefault(newest.page, set()).add(newest.row)
            self.changed += bool(first_sweep)
            self.recovered += not first_sweep

    def _choose_copies(self, copies: Sequence[Occurrence]) -> None:
        """Choose how many of some records with equal content are written, and which.

        A sweep proves as many of them as it showed at once: those of one response if an identity is shared, else all of
        them, since nothing says that two are the same record.
        """
        sweeps = _by_sweep(copies)
        has_id = isinstance(copies[0].id, str)
        proven = {
            sweep: self._in_one_response(occurrences) if has_id else occurrences
            for sweep, occurrences in sweeps.items()
        }
        most = max(map(len, proven.values()))
        gone = most - len(proven.get(self.last, ()))
        wanted = most - gone if self.drop_gone else most
        # 1. Rows of the first sweep, as far as there are any.
        first_sweep, kept = sweeps.get(0, []), proven.get(0, [])[:wanted]
        self.gone += gone
        if first_sweep and has_id:
            self.duplicates += len(first_sweep) - len(self._in_one_response(first_sweep))
        for occurrence in _others(first_sweep, kept):
            self.excluded.setdefault(occurrence.page, set()).add(occurrence.row)
        # 2. The rest from the last sweep that showed enough of them.
        if wanted > len(kept):
            latest = max(sweep for sweep, occurrences in proven.items() if len(occurrences) >= wanted)
            for occurrence in proven[latest][: wanted - len(kept)]:
                self.chosen.setdefault(occurrence.page, set()).add(occurrence.row)
                self.recovered += 1


def _in_order(occurrences: Iterable[Occurrence]) -> list[Occurrence]:
    """Occurrences in the order in which their rows came."""
    return sorted(occurrences, key=lambda one: (one.page.sweep, one.page.page, one.row))


def _by_content(group: Sequence[Occurrence]) -> list[list[Occurrence]]:
    """Occurrences grouped by content, in the order of the first of each."""
    groups: dict[int, list[Occurrence]] = {}
    for occurrence in group:
        groups.setdefault(occurrence.content, []).append(occurrence)
    return list(groups.values())


def _most_in_one_response(group: Sequence[Occurrence]) -> list[Occurrence]:
    """The occurrences on the page that has most of them, the first of such pages."""
    pages = Counter(occurrence.page for occurrence in group)
    page = max(pages, key=pages.__getitem__)
    return [occurrence for occurrence in group if occurrence.page == page]


def _by_sweep(group: Sequence[Occurrence]) -> dict[int, list[Occurrence]]:
    sweeps: dict[int, list[Occurrence]] = {}
    for occurrence in group:
        sweeps.setdefault(occurrence.page.sweep, []).append(occurrence)
    return sweeps


def _is_unexplained(group: Sequence[Occurrence]) -> bool:
    """Whether one version of a record is on several pages."""
    pages: dict[float | None, set[PageKey]] = {}
    for occurrence in group:
        pages.setdefault(occurrence.version, set()).add(occurrence.page)
    return any(len(on_pages) > 1 for on_pages in pages.values())


def _newest(group: Sequence[Occurrence]) -> Occurrence:
    newest = group[0]
    for occurrence in group[1:]:
        if occurrence.version is not None and (newest.version is None or occurrence.version > newest.version):
            newest = occurrence
    return newest


def _supersedes(occurrence: Occurrence, newest: Occurrence) -> bool:
    if occurrence.version is not None and newest.version is not None and occurrence.version != newest.version:
        return occurrence.version > newest.version
    return occurrence.page.sweep > newest.page.sweep and occurrence.content != newest.content


def _others(group: Sequence[Occurrence], kept: Sequence[Occurrence]) -> list[Occurrence]:
    rows = {(occurrence.page, occurrence.row) for occurrence in kept}
    return [occurrence for occurrence in group if (occurrence.page, occurrence.row) not in rows]


def _check_counts(*numbers: object) -> None:
    if not all(type(number) is int and 0 <= number < _COUNT_LIMIT for number in numbers):
        raise ValueError("no counts")
