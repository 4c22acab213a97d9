"""What a session makes: sweeps under its options, and knowledge for the next one."""

from __future__ import annotations

from pathlib import Path

from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.session import open_session
from bulk_export.pipelines.tuning import Tuning
from bulk_export.progress.observer import Observer
from tests.support.stored_pages import PAGE_SIZE, PARTNERS, complete_sweep, full_pages, open_store, store_pages


def options(budget: str) -> ExportOptions:
    return ExportOptions.of(
        [PARTNERS.name], base_url="http://127.0.0.1:9", token="t", budget=budget, page_size=PAGE_SIZE, workers=4
    )


async def test_a_first_sweep_follows_the_options() -> None:
    """It asks for pages of the size in the options, and is the sweep with the number 0."""
    async with open_session(options("memory://"), Observer(), Tuning(), body_cap=1 << 20) as session:
        sweep = session.first_sweep(PARTNERS)
    assert (sweep.number, sweep.page_size) == (0, PAGE_SIZE)
    assert "per_page%5D=10" in sweep.target(1) or "per_page]=10" in sweep.target(1)


async def test_what_was_learned_serves_the_next_session(tmp_path: Path) -> None:
    """How a list is paged is remembered beside the record of spent requests."""
    budget = f"sqlite:///{tmp_path}/budget.sqlite"
    store = open_store(tmp_path / "journal")
    store_pages(store, [*full_pages(25), []])
    async with open_session(options(budget), Observer(), Tuning(), body_cap=1 << 20) as session:
        before = session.facts.of(PARTNERS.path)
        session.conclude(complete_sweep(store))
    async with open_session(options(budget), Observer(), Tuning(), body_cap=1 << 20) as session:
        after = session.facts.of(PARTNERS.path)
    store.close()
    assert (before.records, after.records) == (None, 25)
