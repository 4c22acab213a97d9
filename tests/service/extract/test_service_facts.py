"""What is known of how a service pages is shared by those who share a budget, and lost without harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.rate_limit.service_facts import open_service_facts
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess

SERVICE = "https://service.example"
FACTS = PagingFacts(longest=300, clamp=100, checked=((300, 40), (3_000, 7)), records=0, first=0, style="offset")


async def learn(place: str, path: str, facts: PagingFacts, service: str = SERVICE) -> None:
    async with open_service_facts(place, service) as known:
        known.learn(path, facts)
        assert known.of(path) == facts


async def known(place: str, path: str, service: str = SERVICE) -> PagingFacts:
    async with open_service_facts(place, service) as facts:
        return facts.of(path)


async def keeps_what_it_was_told(place: str) -> None:
    await learn(place, "/lists", FACTS)
    await learn(place, "/others", PagingFacts(longest=7))
    await learn(place, "/lists", PagingFacts(longest=9), "https://another.example")
    assert await known(place, "/lists") == FACTS
    assert await known(place, "/others") == PagingFacts(longest=7)
    assert await known(place, "/lists", "https://another.example") == PagingFacts(longest=9)
    await learn(place, "/lists", PagingFacts())
    assert await known(place, "/lists") == PagingFacts()


async def test_facts_are_kept_beside_the_budget(tmp_path: Path) -> None:
    """A file beside the budget keeps facts about the service."""
    await keeps_what_it_was_told(f"sqlite:///{tmp_path}/new/budget.sqlite")


@pytest.mark.skipif(REDIS is None, reason=SKIP_REASON)
async def test_facts_are_kept_in_redis(tmp_path: Path) -> None:
    """A Redis server keeps facts about the service, and their loss costs nothing."""
    server = RedisProcess(tmp_path)
    try:
        await keeps_what_it_was_told(server.url)
    finally:
        server.kill()
    await learn(server.url, "/lists", FACTS)
    assert await known(server.url, "/lists") == PagingFacts()


async def test_a_run_in_memory_knows_what_it_learned_itself() -> None:
    await learn("memory://", "/lists", FACTS)
    assert await known("memory://", "/lists") == PagingFacts()


async def test_foreign_facts_file_is_left_alone(tmp_path: Path) -> None:
    """A file of others, or a link, is neither read nor written."""
    place, kept = f"sqlite:///{tmp_path}/budget.sqlite", tmp_path / "budget.sqlite.facts"
    await learn(place, "/lists", FACTS)
    kept.chmod(0o644)
    assert await known(place, "/lists") == PagingFacts()
    kept.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o600)
    kept.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    await learn(place, "/lists", PagingFacts(longest=1))
    assert await known(place, "/lists") == PagingFacts()
    assert (tmp_path / "elsewhere").read_bytes() == before
    kept.unlink()
    os.mkfifo(kept)
    assert await known(place, "/lists") == PagingFacts()
