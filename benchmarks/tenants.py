"""When 3,000,000 records are fetched with several addresses, by one tenant and by twenty, on virtual time.

    python -m benchmarks.tenants

The requests are simulated under the ledgers that exports use, with the limits of the service (1,000 in five minutes for
each token, 300 for each address), 300 records a page, half a second of latency and the default interval and workers.
The bound is the least time that any order of the requests takes if each is answered at once. Under way is the mean time
from the first request of a tenant to its last response: for so long, changes may fall between two of its pages.
"""

from __future__ import annotations

import argparse

from bulk_export.core.model import Limit
from bulk_export.pipelines.request_counts import least_requests
from bulk_export.pipelines.tenants_simulation import least_seconds, schedule_tenants
from bulk_export.progress.tally import clock_text

RECORDS, PAGE_SIZE = 3_000_000, 300
SERVICE, ADDRESS = Limit(1000, 300), Limit(300, 300)
MIN_INTERVAL, LATENCY, WORKERS = 0.1, 0.5, 8
COLUMNS = ("tenants", "addresses", "order", "bound", "all done", "over", "mean done", "under way")


def rows(tenants: int, addresses: int) -> list[tuple[str, ...]]:
    """The lines of the table for some tenants: in the order of the file, and in turn."""
    requests = [least_requests(RECORDS // tenants, PAGE_SIZE)] * tenants
    bound = least_seconds(
        requests, service_limit=SERVICE, address_limit=ADDRESS, addresses=addresses, min_interval=MIN_INTERVAL
    )
    found = []
    for in_turn in (False, True) if tenants > 1 else (False,):
        schedules = schedule_tenants(
            requests,
            service_limit=SERVICE,
            address_limit=ADDRESS,
            addresses=addresses,
            min_interval=MIN_INTERVAL,
            latency=LATENCY,
            workers=WORKERS,
            in_turn=in_turn,
        )
        done = max(one.finished for one in schedules)
        mean_done = sum(one.finished for one in schedules) / tenants
        under_way = sum(one.finished - one.began for one in schedules) / tenants
        found.append(
            (
                str(tenants),
                str(addresses),
                "in turn" if in_turn else "of the file",
                clock_text(bound),
                clock_text(done),
                f"{100 * (done / bound - 1):.1f} %",
                clock_text(mean_done),
                clock_text(under_way),
            )
        )
    return found


def main() -> None:
    """Print the table in Markdown."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--addresses", type=int, nargs="+", default=[1, 2, 4, 8])
    made.add_argument("--numbers", type=int, nargs="+", default=[1, 20], help="of tenants (1 20)")
    chosen = made.parse_args()
    print(f"| {' | '.join(COLUMNS)} |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for tenants in chosen.numbers:
        for addresses in chosen.addresses:
            for row in rows(tenants, addresses):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
