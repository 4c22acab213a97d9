"""What an export and a stream share: everything that is open while a service is read.

That is the address, the facts about the service's paging, the rate limiter and the HTTP client. A session creates the
sweeps over endpoints, and the dispatcher that fetches them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bulk_export.core.model import Endpoint
from bulk_export.core.notifier import Notifier
from bulk_export.core.window_gate import WindowGate
from bulk_export.extract.client import HttpClient
from bulk_export.extract.dispatcher import Dispatcher, DispatchSettings
from bulk_export.extract.page_fetcher import PageFetcher, PageReceiver
from bulk_export.extract.pagination import PagePlanner
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.rate_limit import RateLimiter, open_rate_limiter
from bulk_export.extract.rate_limit.service_facts import ServiceFacts, open_service_facts
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.connection import service_address
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tuning import Tuning
from bulk_export.progress.observer import Observer


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection to one service, under its limits.

    `changed` wakes the tasks that wait for pages: the dispatcher notifies it after each response.
    """

    options: ExportOptions
    tuning: Tuning
    observer: Observer
    facts: ServiceFacts
    limiter: RateLimiter
    client: HttpClient
    changed: Notifier = field(default_factory=Notifier)

    def first_sweep(
        self,
        endpoint: Endpoint,
        *,
        empty_is_enough: bool = False,
        known: PagingFacts | None = None,
        plan: PagePlanner | None = None,
        page_size: int | None = None,
    ) -> Sweep:
        """Return the first sweep over an endpoint, with the filters of the options and the facts about its paging.

        Args:
            endpoint: The endpoint.
            empty_is_enough: As for `Sweep`.
            known: Facts in place of those that are stored.
            plan: As for `Sweep`.
            page_size: The records of a page; by default as in the options.
        """
        sweep = Sweep(
            endpoint,
            number=0,
            page_size=self.options.page_size if page_size is None else page_size,
            stride=2 * self.options.workers,
            filters=self.options.filters_for(endpoint),
            known=self.facts.of(endpoint.path) if known is None else known,
            empty_is_enough=empty_is_enough,
            plan=plan,
        )
        if plan is None:
            sweep.plan.sample = self.options.sample_pages
        return sweep

    def dispatcher(self, sweeps: Sequence[Sweep], receiver: PageReceiver) -> Dispatcher:
        """Return a dispatcher that fetches `sweeps` and hands their pages to `receiver`."""
        options, tuning = self.options, self.tuning
        fetcher = PageFetcher(self.client, self.limiter, receiver, self.observer, successor=options.service.successor)
        settings = DispatchSettings(
            workers=options.workers,
            backoff=tuning.backoff(options.retries),
            uniform=tuning.uniform,
            max_wait=options.max_wait,
            gate=WindowGate(options.window, clock=tuning.clock, closed=self.observer.outside_window),
            trusted_size=options.page_size if options.tries_page_sizes else None,
        )
        return Dispatcher(
            sweeps,
            fetcher=fetcher,
            limiter=self.limiter,
            settings=settings,
            changed=self.changed,
            observer=self.observer,
        )

    def conclude(self, sweep: Sweep) -> None:
        """Remember how the service pages a list that was read to its end, and pass on the warnings about it.

        A sample shows nothing of that.
        """
        if sweep.plan.sample is not None:
            return
        if sweep.is_paged:
            self.facts.learn(sweep.endpoint.path, sweep.learned())
        for warning in sweep.warnings():
            self.observer.warned(warning)


@asynccontextmanager
async def open_session(
    options: ExportOptions, observer: Observer, tuning: Tuning, *, body_cap: int
) -> AsyncIterator[Session]:
    """Open a session for the service that `options` name; the bundled one is started for it.

    Args:
        options: The service, the limits, and how requests are sent.
        observer: Receives the events of the run.
        tuning: Timeouts, backoff and clocks.
        body_cap: The largest body that is accepted, in bytes, as sent and inflated.

    Raises:
        BudgetUnavailable: The store of spent requests cannot be used.
    """
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(service_address(options))
        facts = await stack.enter_async_context(open_service_facts(options.budget, address.base_url))
        limiter = await stack.enter_async_context(
            open_rate_limiter(
                options.budget,
                base_url=address.base_url,
                token=address.token,
                service_limit=options.service_limit,
                ip_limit=options.ip_limit,
                min_interval=options.min_interval,
                sources=options.sources,
                share=options.share,
                answer_timeout=tuning.longest_request(options.endpoints),
                notice=observer.warned,
                rank=options.rank,
            )
        )
        client = await stack.enter_async_context(
            HttpClient(
                address.base_url,
                address.token,
                sources=options.sources,
                body_cap=body_cap,
                timeouts=tuning.timeouts,
                auth=options.service.auth,
                ca_file=options.ca_file,
                notice=observer.warned,
            )
        )
        yield Session(options, tuning, observer, facts, limiter, client)
