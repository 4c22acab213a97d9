"""Conversion alone: one page's bytes to a record batch or to lines, against a parser of the same page.

    python -m benchmarks.conversion

In a process of its own, on one core, the ways in turn; prints rows as JSON. Blocks are of ten pages, as an export
converts them, and times are for each page.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import orjson

from benchmarks.pages import ENDPOINT, body, factory
from bulk_export.core.model import Field, Kind
from bulk_export.services.catalogue import load_service
from bulk_export.transform.decode import Decoder
from bulk_export.transform.redaction import Redaction

PAGE, BLOCK = 300, 10


def ways() -> dict[str, tuple[Callable[[], object], int]]:
    """What is measured, and how many pages it takes in one call."""
    (endpoint,) = [one for one in load_service("npq").endpoints if one.name == ENDPOINT]
    made_by = factory(PAGE * BLOCK)
    bodies = [body(made_by, number * PAGE, PAGE) for number in range(BLOCK)]
    drifted = bodies[0].replace(b'"cohort"', b'"cohort_of_old"', 1)
    grown = [text.replace(b'"attributes":{', b'"attributes":{"new":"value",') for text in bodies]
    # As a service sends places: the digits of a double in full.
    place = b'"latitude":51.507350900000006,"longitude":-0.12775829999998223,'
    placed = [text.replace(b'"attributes":{', b'"attributes":{' + place) for text in bodies]
    numbers = (Field("latitude", Kind.NUMBER), Field("longitude", Kind.NUMBER))
    with_numbers = Decoder(replace(endpoint, fields=(*numbers, *endpoint.fields)), columns=True, lines=None)
    exact = Decoder(endpoint, columns=True, lines=None, compiled=False)
    columns = Decoder(endpoint, columns=True, lines=None)
    drifting = Decoder(endpoint, columns=True, lines=None)
    raw = Decoder(endpoint, columns=False, lines="raw")
    flat = Decoder(endpoint, columns=False, lines="flat")
    names = ["email", "teacher_reference_number"]
    dropping = Decoder(endpoint, columns=False, lines="raw", redaction=Redaction.from_paths(names, []))
    hiding = Redaction.from_paths([], names, b"a key for measurements")
    pseudonyms = Decoder(endpoint, columns=False, lines="raw", redaction=hiding)
    return {
        "orjson.loads": (lambda: orjson.loads(bodies[0]), 1),
        "to a record batch": (lambda: columns.decode(bodies), BLOCK),
        "to a record batch, one page": (lambda: columns.decode(bodies[:1]), 1),
        "to a record batch, a page with drift": (lambda: drifting.decode([drifted]), 1),
        "to a record batch, drift in each record": (lambda: drifting.decode(grown), BLOCK),
        "to a record batch, two doubles of 17 digits": (lambda: with_numbers.decode(placed), BLOCK),
        "to a record batch, by the exact path": (lambda: exact.decode(bodies[:1]), 1),
        "to lines": (lambda: raw.decode(bodies), BLOCK),
        "to lines, two columns dropped": (lambda: dropping.decode(bodies), BLOCK),
        "to lines, two columns pseudonymised": (lambda: pseudonyms.decode(bodies), BLOCK),
        "to flat lines": (lambda: flat.decode(bodies), BLOCK),
    }


def rows(rounds: int = 15) -> list[dict[str, object]]:
    """Milliseconds a page in the median, and as a multiple of the parser's."""
    measured = ways()
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(rounds + 1):
        for name, (call, pages) in measured.items():
            began = time.perf_counter()
            call()
            if number:  # the first round warms up
                taken[name].append((time.perf_counter() - began) / pages * 1_000)
    parser = statistics.median(taken["orjson.loads"])
    return [
        {
            "way": name,
            "ms_a_page": round(statistics.median(times), 3),
            "of_orjson": round(statistics.median(times) / parser, 2),
        }
        for name, times in taken.items()
    ]


if __name__ == "__main__":
    print(json.dumps(rows()))
