"""Sweeps an endpoint again until two sweeps agree, for records that stood on no page of the first one.

A record that is there all along is missed when others vanish, or ties change places, between the requests for two
pages. A sweep that takes one page after the other misses it only if a record it has seen before is gone when it
ends. So when it shows no record twice, and the next sweep sees the same records, it has missed none. A sweep
of one page is one instant, and what it misses the service did not show. The largest page has the fewest edges.

One answer is no proof, since a service, or what stands in front of it, may give a short or an empty one. Two
sweeps have to agree, whatever they are. Where they lack what an earlier one saw, the later of the two must have
come to an empty page behind its last one, so that a page that was cut short is not taken for the end; and sweeps
that see nothing at all never outweigh one that saw something.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.core.model import PageKey
from bulk_export.errors import ServiceFailing
from bulk_export.extract.journal import JournalStore, PagePrints
from bulk_export.extract.paging_facts import parse_sweep_state, sweep_state_name
from bulk_export.extract.sweep import Sweep
from bulk_export.transform.decode import Decoder, version
from bulk_export.transform.dedup.fingerprints import Occurrence, column, fingerprints, fingerprints_of
from bulk_export.transform.dedup.resolution import ConflictResolver, Corrections
from bulk_export.transform.dedup.sweep_comparison import agree, distinct, lacks, repetitions, shared, unlike

MOST_SWEEPS = 6
# What is done in one step, and what is held of records that the sweeps did not see alike.
_PAGES_PER_STEP = 10
_RECORDS_AT_ONCE = 100_000


class ConsistencySweeps:
    """Further sweeps over an endpoint, with pages of `page_size` records, and what follows from them.

    The outcome is in `revision` when `advance` has said so. With `drop_gone`, records that vanished while the
    service was read are not exported, if the sweeps agree in the end. Unless it `asks_twice`, a first sweep of a
    single answer is believed, which is enough where nothing follows from what it does not show. Where only ties come
    in no particular order (`counts_suffice`), sweeps are believed, too, that show as many rows as there are different
    records in all of them.
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
        self._given = True
        self._work = self._run()
        self.revision: Corrections | None = None

    @property
    def ready(self) -> bool:
        """Whether there is something to do; otherwise pages of the sweep that was last wanted are missing."""
        return self._sweeps[-1].plan.complete

    def wanted(self) -> Sweep | None:
        """The sweep that is to be fetched, given once."""
        given, self._given = self._given, True
        return None if given else self._sweeps[-1]

    def advance(self) -> bool:
        """Do one short piece of work, when `ready`; whether it was the last."""
        next(self._work, None)
        return self.revision is not None

    def _run(self) -> Iterator[None]:
        yield from self._print(self._sweeps[0])
        settled = not self._asks_twice and _is_moment(self._sweeps[0])
        while not settled and self._sweeps[-1].number < MOST_SWEEPS:
            self._begin()
            yield
            yield from self._print(self._sweeps[-1])
            settled = self._is_settled()
            yield
        if not settled and any(sweep.has_stray_answers for sweep in self._sweeps):
            raise ServiceFailing(
                f"{self._sweeps[0].endpoint.name} is answered with pages that were not asked for.",
                kept="Every page stored so far is kept.",
                next_step="Check what stands between here and the service; the same command goes on from here.",
            )
        ballot = ConflictResolver(self._sweeps[-1].number, self._drop_gone and settled, self._is_one_answer)
        yield from self._vote(ballot)
        left_out = {key: frozenset(rows) for key, rows in ballot.left_out.items()}
        for key, rows in ballot.taken.items():
            left_out[key] = frozenset(range(self._sweeps[key.sweep].stored(key.page))) - rows
        self.revision = Corrections(
            left_out,
            ballot.duplicates + repetitions(self._sightings(self._sweeps[0]), self._sweeps[0].plan.records),
            tuple(sorted(ballot.taken)),
            swept_again=len(self._sweeps) - 1,
            recovered=ballot.recovered,
            changed=ballot.changed,
            # Without a proof nothing is said to be gone.
            gone=ballot.gone if settled else 0,
            settled=settled,
            shared=max(shared(self._sightings(sweep), sweep.plan.records) for sweep in self._sweeps),
        )

    def _begin(self) -> None:
        sweep = self._sweeps[0].again(len(self._sweeps), self._page_size, proves_end=self._has_lost)
        if not self._sweeps[0].has_stray_answers:
            state = self._store.parsed_fact(sweep_state_name(sweep.endpoint.name, sweep.number), parse_sweep_state)
            sweep.restore(self._store.page_counts(sweep.endpoint.name, sweep.number), self._store.body, state=state)
        self._sweeps.append(sweep)
        self._given = False

    def _print(self, sweep: Sweep) -> Iterator[None]:
        """Take the fingerprints of a sweep, from where an earlier run left off."""
        name = sweep.endpoint.name
        last = sweep.plan.end or 0
        # Where answers strayed, further sweeps are read anew in each run, so what is stored of them may be another's.
        is_anew = sweep.number > 0 and self._sweeps[0].has_stray_answers
        done = 0 if is_anew else self._store.printed(name, sweep.number)
        while done < last:
            pages = range(done + 1, min(last, done + _PAGES_PER_STEP) + 1)
            self._store.add_prints(name, sweep.number, map(functools.partial(self._page_prints, sweep), pages))
            done = pages[-1]
            yield

    def _page_prints(self, sweep: Sweep, page: int) -> PagePrints:
        body = self._store.body(sweep.key(page))
        return PagePrints(page, fingerprints(self._ids.decode([body]).ids), fingerprints_of(sweep.shaper.split(body)))

    def _is_settled(self) -> bool:
        """Whether the last sweep leaves no doubt about what is there."""
        *earlier, last = self._sweeps
        before = earlier[-1]
        rows = sum(sweep.plan.records for sweep in self._sweeps)
        # From the first sweep on that lacks something, the next ones prove their ends.
        self._has_lost = self._has_lost or lacks(self._sightings(last), list(map(self._sightings, earlier)), rows)
        if self._counts_suffice and self._counts_agree(rows):
            return True
        if self._has_lost and not (last.plan.records and (last.proves_end or self._is_one_answer)):
            return False
        is_moment = _is_moment(last)
        if not is_moment and before.number == 0 and (before.plan.end or 0) > 1:
            # Its pages were not read one after the other.
            return False
        both = before.plan.records + last.plan.records
        return agree(self._sightings(before), self._sightings(last), both, is_one_answer=is_moment)

    def _counts_agree(self, rows: int) -> bool:
        """Whether all sweeps show as many rows as there are different records: then none is missing."""
        each = {sweep.plan.records for sweep in self._sweeps}
        return len(each) == 1 and each == {distinct(list(map(self._sightings, self._sweeps)), rows)}

    def _sightings(self, sweep: Sweep) -> functools.partial[Iterator[tuple[int, bytes, bytes]]]:
        return functools.partial(_answers, self._store, sweep)

    def _vote(self, ballot: ConflictResolver) -> Iterator[None]:
        rows = sum(sweep.plan.records for sweep in self._sweeps)
        disputed = sorted(unlike([self._sightings(sweep) for sweep in self._sweeps], rows))
        yield
        for start in range(0, len(disputed), _RECORDS_AT_ONCE):
            wanted = pa.array(disputed[start : start + _RECORDS_AT_ONCE], pa.uint64())
            found: list[Occurrence] = []
            for sweep in self._sweeps:
                for prints in _prints(self._store, sweep):
                    if rows_wanted := _rows_in(prints.ids, wanted):
                        found.extend(self._occurrences(sweep.key(prints.page), prints, rows_wanted))
                        yield
            ballot.decide(found)

    def _occurrences(self, key: PageKey, prints: PagePrints, rows: list[int]) -> Iterator[Occurrence]:
        body = self._store.body(key)
        ids = self._ids.decode([body]).ids
        records = self._sweeps[0].shaper.records(body)
        contents = memoryview(prints.contents).cast("Q")
        for row in rows:
            yield Occurrence.of(ids[row], key, row, version(records[row]), contents[row])


def _is_moment(sweep: Sweep) -> bool:
    """Whether everything came in a single answer, which shows one instant."""
    if sweep.endpoint.paging.style == "none":
        return True
    # Where nobody knows how many records come at once, there may have been more behind a page that was short.
    is_short = (sweep.plan.count(1) or 0) < sweep.page_size and sweep.endpoint.paging.largest is not None
    return (sweep.plan.end or 0) <= 1 and is_short


def _answers(store: JournalStore, sweep: Sweep) -> Iterator[tuple[int, bytes, bytes]]:
    in_one = sweep.endpoint.paging.style == "none"
    for prints in _prints(store, sweep):
        yield 0 if in_one else prints.page, prints.ids, prints.contents


def _prints(store: JournalStore, sweep: Sweep) -> Iterator[PagePrints]:
    """The prints of the pages of a sweep; an earlier run may have found more of them."""
    end = sweep.plan.end or 0
    return (prints for prints in store.prints(sweep.endpoint.name, sweep.number) if prints.page <= end)


def _rows_in(prints: bytes, wanted: pa.Array) -> list[int]:
    rows: list[int] = pc.indices_nonzero(pc.is_in(column(prints), value_set=wanted)).to_pylist()
    return rows
