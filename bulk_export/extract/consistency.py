"""Consistency sweeps: read an endpoint again until two sweeps agree, for records that the first one missed.

Why records are missed. A record that exists throughout is missed if other records vanish, or ties change places,
between the requests for two pages. A sweep that reads one page after the other misses it only if a record that the
sweep saw earlier is gone at its end.

What proves that none is missed:

1. A sequential sweep shows no record twice, and the next one sees the same records: the first of them missed none.
2. A sweep of one page shows a single instant. A second one has to agree nevertheless, since the service, or a proxy
   in front of it, may send a short or empty response.
3. If the last two sweeps lack records that an earlier one saw, the later one must have ended with an empty page,
   because a page that was cut short looks like the end.
4. Sweeps that see no records never outweigh one that saw some.
5. If only the order of ties is unstable (`counts_suffice`), it is enough that each sweep shows as many rows as there
   are different records in all sweeps together.

The first sweep is parallel, so it proves nothing and only supplies rows. Further ones request the largest pages, which
have the fewest edges where a record can be missed. After `MOST_SWEEPS` of them without proof, no more are made.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bulk_export.core.model import PageKey
from bulk_export.errors import ServiceFailing
from bulk_export.extract.journal import JournalStore, PageFingerprints
from bulk_export.extract.journal.fact_names import sweep_state_name
from bulk_export.extract.paging_facts import parse_sweep_state
from bulk_export.extract.sweep import Sweep
from bulk_export.transform.decode import Decoder, record_version
from bulk_export.transform.dedup.fingerprints import fingerprint_array, fingerprints, fingerprints_of
from bulk_export.transform.dedup.resolution import ConflictResolver, Corrections, Occurrence

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

MOST_SWEEPS = 6
# The number of pages to fingerprint in one step, and the number of differing records to hold in memory.
_PAGES_PER_STEP = 10
_RECORDS_AT_ONCE = 100_000


class ConsistencySweeps:
    """Further sweeps over an endpoint, and the corrections that follow from them.

    The work is done in short blocking steps: call `advance` while `ready`, and fetch the sweeps that `wanted` returns.
    The result is in `corrections` once `advance` has returned True.

    Args:
        first: The first sweep, complete.
        store: The journal with its pages; those of further sweeps are stored there, too.
        page_size: The number of records to ask for per page from now on.
        drop_gone: Whether records that vanished while the service was read are left out, if the sweeps agree in the
            end.
        asks_twice: Whether a first sweep of a single response has to be confirmed by a second one. It need not if
            nothing depends on the records that it lacks.
        counts_suffice: Whether case 5 is proof.
    """

    def __init__(
        self,
        first: Sweep,
        store: JournalStore,
        page_size: int,
        *,
        drop_gone: bool,
        asks_twice: bool = True,
        counts_suffice: bool = False,
    ) -> None:
        self._store = store
        self._page_size = page_size
        self._drop_gone = drop_gone
        self._asks_twice = asks_twice
        self._counts_suffice = counts_suffice
        self._is_one_answer = first.endpoint.paging.style == "none"
        self._has_lost = False
        self._ids = Decoder(first.endpoint, columns=False, lines=None)
        self._sweeps = [first]
        self._is_last_fetched = True
        self._work = self._run()
        self.corrections: Corrections | None = None

    @property
    def ready(self) -> bool:
        """Whether `advance` can do something now. If not, pages of the last sweep are missing."""
        return self._sweeps[-1].plan.complete

    def wanted(self) -> Sweep | None:
        """Return a sweep that is to be fetched, each one once."""
        is_fetched, self._is_last_fetched = self._is_last_fetched, True
        return None if is_fetched else self._sweeps[-1]

    def advance(self) -> bool:
        """Do one short piece of work, if `ready`. Return whether it was the last."""
        next(self._work, None)
        return self.corrections is not None

    def _run(self) -> Iterator[None]:
        yield from self._fingerprint(self._sweeps[0])
        settled = not self._asks_twice and _is_moment(self._sweeps[0])
        while not settled and self._sweeps[-1].number < MOST_SWEEPS:
            self._begin()
            yield
            yield from self._fingerprint(self._sweeps[-1])
            settled = self._is_settled()
            state = "no record is missing" if settled else "not proven yet that no record is missing"
            logger.info("Sweep %d of %s: %s", self._sweeps[-1].number, self._sweeps[0].endpoint.name, state)
            yield
        if not settled and any(sweep.has_stray_answers for sweep in self._sweeps):
            raise ServiceFailing(
                f"For {self._sweeps[0].endpoint.name} the service sends pages that were not requested.",
                next_step="Check for a proxy or gateway in front of the service; the same command goes on from here.",
            )
        from bulk_export.transform.dedup.sweep_comparison import count_repeats_without_id, count_shared_ids

        resolver = ConflictResolver(self._sweeps[-1].number, self._drop_gone and settled, self._is_one_answer)
        yield from self._resolve(resolver)
        left_out = {key: frozenset(rows) for key, rows in resolver.excluded.items()}
        for key, rows in resolver.chosen.items():
            left_out[key] = frozenset(range(self._sweeps[key.sweep].stored(key.page))) - rows
        self.corrections = Corrections(
            left_out,
            resolver.duplicates
            + count_repeats_without_id(self._sightings(self._sweeps[0]), self._sweeps[0].plan.records),
            tuple(sorted(resolver.chosen)),
            swept_again=len(self._sweeps) - 1,
            recovered=resolver.recovered,
            changed=resolver.changed,
            # Without proof, no record counts as gone.
            gone=resolver.gone if settled else 0,
            settled=settled,
            shared=max(count_shared_ids(self._sightings(sweep), sweep.plan.records) for sweep in self._sweeps),
        )

    def _begin(self) -> None:
        sweep = self._sweeps[0].again(len(self._sweeps), self._page_size, proves_end=self._has_lost)
        if not self._sweeps[0].has_stray_answers:
            state = self._store.parsed_fact(sweep_state_name(sweep.endpoint.name, sweep.number), parse_sweep_state)
            counts = self._store.page_counts(sweep.endpoint.name, sweep.number)
            sweep.restore(counts, functools.partial(map, self._store.body), state=state)
        self._sweeps.append(sweep)
        self._is_last_fetched = False

    def _fingerprint(self, sweep: Sweep) -> Iterator[None]:
        """Store the fingerprints of a sweep's pages, from where an earlier run left off."""
        name = sweep.endpoint.name
        last = sweep.plan.end or 0
        # If responses strayed, each run requests further sweeps again: stored pages may belong to another sweep.
        is_anew = sweep.number > 0 and self._sweeps[0].has_stray_answers
        done = 0 if is_anew else self._store.last_fingerprinted_page(name, sweep.number)
        while done < last:
            pages = range(done + 1, min(last, done + _PAGES_PER_STEP) + 1)
            self._store.add_page_fingerprints(
                name, sweep.number, map(functools.partial(self._fingerprint_page, sweep), pages)
            )
            done = pages[-1]
            yield

    def _fingerprint_page(self, sweep: Sweep, page: int) -> PageFingerprints:
        body = self._store.body(sweep.key(page))
        return PageFingerprints(
            page, fingerprints(self._ids.decode([body]).ids), fingerprints_of(sweep.shaper.split(body))
        )

    def _is_settled(self) -> bool:
        """Whether the sweeps so far prove that no record is missing: see the cases of the module."""
        # It needs all of Arrow's functions, which take long to import and which most exports never use.
        from bulk_export.transform.dedup.sweep_comparison import lacks_records, sweeps_agree

        *earlier, last = self._sweeps
        before = earlier[-1]
        rows = sum(sweep.plan.records for sweep in self._sweeps)
        # After the first sweep that lacks records, all further ones have to prove their end.
        self._has_lost = self._has_lost or lacks_records(
            self._sightings(last), list(map(self._sightings, earlier)), rows
        )
        # Case 5.
        if self._counts_suffice and self._counts_agree(rows):
            return True
        # Cases 3 and 4.
        if self._has_lost and not (last.plan.records and (last.proves_end or self._is_one_answer)):
            return False
        is_moment = _is_moment(last)
        # The first sweep is not sequential, so it proves nothing unless it has a single page.
        if not is_moment and before.number == 0 and (before.plan.end or 0) > 1:
            return False
        # Cases 1 and 2.
        both = before.plan.records + last.plan.records
        return sweeps_agree(self._sightings(before), self._sightings(last), both, is_one_response=is_moment)

    def _counts_agree(self, rows: int) -> bool:
        """Whether all sweeps show as many rows as there are different records: then none is missing."""
        from bulk_export.transform.dedup.sweep_comparison import count_ids

        each = {sweep.plan.records for sweep in self._sweeps}
        return len(each) == 1 and each == {count_ids(list(map(self._sightings, self._sweeps)), rows)}

    def _sightings(self, sweep: Sweep) -> functools.partial[Iterator[tuple[int, bytes, bytes]]]:
        return functools.partial(_answers, self._store, sweep)

    def _resolve(self, resolver: ConflictResolver) -> Iterator[None]:
        import pyarrow as pa

        from bulk_export.transform.dedup.sweep_comparison import differing_ids

        rows = sum(sweep.plan.records for sweep in self._sweeps)
        disputed = sorted(differing_ids([self._sightings(sweep) for sweep in self._sweeps], rows))
        yield
        for start in range(0, len(disputed), _RECORDS_AT_ONCE):
            wanted = pa.array(disputed[start : start + _RECORDS_AT_ONCE], pa.uint64())
            occurrences: list[Occurrence] = []
            for sweep in self._sweeps:
                for page in _fingerprinted_pages(self._store, sweep):
                    if rows_wanted := _rows_in(page.ids, wanted):
                        occurrences.extend(self._occurrences(sweep.key(page.page), page, rows_wanted))
                        yield
            resolver.resolve(occurrences)

    def _occurrences(self, key: PageKey, page: PageFingerprints, rows: list[int]) -> Iterator[Occurrence]:
        body = self._store.body(key)
        ids = self._ids.decode([body]).ids
        records = self._sweeps[0].shaper.normalized_records(body)
        contents = memoryview(page.contents).cast("Q")
        for row in rows:
            yield Occurrence.of(ids[row], key, row, record_version(records[row]), contents[row])


def _is_moment(sweep: Sweep) -> bool:
    """Whether everything came in a single response, which shows one instant."""
    if sweep.endpoint.paging.style == "none":
        return True
    # If the largest page of the service is not known, more records may follow a short page.
    is_short = (sweep.plan.count(1) or 0) < sweep.page_size and sweep.endpoint.paging.largest is not None
    return (sweep.plan.end or 0) <= 1 and is_short


def _answers(store: JournalStore, sweep: Sweep) -> Iterator[tuple[int, bytes, bytes]]:
    in_one = sweep.endpoint.paging.style == "none"
    for page in _fingerprinted_pages(store, sweep):
        yield 0 if in_one else page.page, page.ids, page.contents


def _fingerprinted_pages(store: JournalStore, sweep: Sweep) -> Iterator[PageFingerprints]:
    """Return the fingerprints of a sweep's pages, except pages behind its end, which an earlier run may have stored."""
    end = sweep.plan.end or 0
    return (page for page in store.page_fingerprints(sweep.endpoint.name, sweep.number) if page.page <= end)


def _rows_in(prints: bytes, wanted: pa.Array) -> list[int]:
    import pyarrow.compute as pc

    rows: list[int] = pc.indices_nonzero(pc.is_in(fingerprint_array(prints), value_set=wanted)).to_pylist()
    return rows
