"""The budget on a real Redis server: the promises of the file, across machines."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.errors import BudgetUnavailable, UsageError
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome, open_rate_limiter, read_usage
from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.interface import Granted, Limits, Wait
from bulk_export.extract.rate_limit.location import RedisServer
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.redis.ledger import RedisLedger
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.routes import RouteFinder, route_by_name
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess
from tests.support.sliding_log import most_in_any_window

pytestmark = pytest.mark.skipif(REDIS is None, reason=SKIP_REASON)

SECRET = "token-that-must-not-be-stored"
AGREED = Limits(Limit(4, 60), Limit(4, 60), (None,), 20.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield process
    process.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path)
    yield process
    process.kill()


class Hand:
    """A server clock and a clock of this machine that stand where they are put."""

    def __init__(self) -> None:
        self.server = 1_790_000_000.0
        self.here = 500.0

    def passes(self, seconds: float) -> None:
        self.server += seconds
        self.here += seconds


tokens = (f"{SECRET}-{number}" for number in itertools.count())


def service_of(token: str) -> str:
    """A service for each token, since an address shares its limit whatever the token."""
    return f"https://{token}.example"


@asynccontextmanager
async def opened(
    server: RedisProcess,
    hand: Hand | None = None,
    limits: Limits = AGREED,
    token: str | None = None,
    base_url: str | None = None,
    route: RouteFinder = route_by_name,
) -> AsyncIterator[RedisLedger]:
    clocks: dict[str, Any] = {} if hand is None else {"clock": lambda: hand.server, "elapsed": lambda: hand.here}
    token = token or next(tokens)
    store = RedisLedger(
        RedisServer(server.url), base_url or service_of(token), Token(token), limits, find_route=route, **clocks
    )
    try:
        await store.enter()
        yield store
    finally:
        await store.close()


identities = itertools.count(1_000_000)  # apart from those that tests choose


async def claim_all(store: RedisLedger) -> int:
    granted = 0
    while isinstance(await store.claim(next(identities)), Granted):
        granted += 1
    return granted


async def spend_all(store: RedisLedger) -> int:
    granted = []
    while isinstance(await store.claim(identity := next(identities)), Granted):
        granted.append(identity)
    for identity in granted:
        await store.release(identity, RequestOutcome.ANSWERED)
    return len(granted)


@asynccontextmanager
async def budget_on(server: RedisProcess, limit: Limit, token: str, **options: Any) -> AsyncIterator[RateLimiter]:
    chosen: dict[str, Any] = {"min_interval": 0, "answer_timeout": 0.5, "base_url": service_of(token)}
    chosen |= {"service_limit": limit, "ip_limit": limit} | options
    async with open_rate_limiter(server.url, token=Token(token), **chosen) as budget:
        yield budget


async def redis_client(server: RedisProcess) -> Any:
    from redis.asyncio import Redis

    return Redis(port=server.port)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, int, float]]:
    """What happens, to which process or request, and a number for it."""
    kinds = st.sampled_from(
        ["claim", "claim", "claim", "settle", "settle", "unsent", "failed", "refuse", "pass", "pass"]
    )
    return draw(st.lists(st.tuples(kinds, st.integers(0, 50), st.floats(0, 30)), max_size=60))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=steps(),
    service=st.integers(1, 6),
    address=st.integers(1, 6),
    sources=st.integers(1, 3),
    periods=st.tuples(st.sampled_from([10.0, 60.0]), st.sampled_from([10.0, 60.0])),
    ways=st.sampled_from(["{}", "{}", "{} fd00::1", "10.0.0.0"]),
)
@example(
    script=[
        *[("claim", 0, 0.0)] * 3,
        *[("settle", 0, 0.0)] * 2,
        ("refuse", 0, 0.3),
        ("pass", 0, 1.0),
        *[("claim", 0, 0.0), ("settle", 0, 0.0)],
        *[("claim", 0, 0.0), ("settle", 0, 0.0), ("pass", 0, 2.6)] * 12,
    ],
    service=12,
    address=12,
    sources=1,
    periods=(60.0, 60.0),
    ways="{}",
)
def test_all_ledgers_decide_alike(
    server: RedisProcess,
    tmp_path_factory: pytest.TempPathFactory,
    script: list[tuple[str, int, float]],
    service: int,
    address: int,
    sources: int,
    periods: tuple[float, float],
    ways: str,
) -> None:
    """One script of steps for memory, a file and a server: the same permits from the same addresses, the same holds.

    The addresses may be reached by `ways` that share one.
    """

    def route(source: str | None) -> str:
        return ways.format(source)

    limits = Limits(
        Limit(service, periods[0]), Limit(address, periods[1]), tuple(f"10.0.0.{n}" for n in range(sources)), 20.0
    )
    hand, directory = Hand(), tmp_path_factory.mktemp("differential")

    async def play() -> None:
        memory = MemoryLedger(limits, lambda: hand.here, route)
        file = SqliteLedger(
            directory / "budget.sqlite",
            service_of(SECRET),
            Token(SECRET),
            limits,
            BootClock("boot", lambda: hand.here),
            route,
        )
        async with opened(server, hand, limits, route=route) as store:
            in_flight: list[int] = []
            for kind, number, amount in script:
                if kind == "pass":
                    hand.passes(round(amount, 3))
                elif kind == "claim":
                    identity = next(identities)
                    replies = [memory.claim(identity), file.claim(identity), await store.claim(identity)]
                    assert len({type(reply) for reply in replies}) == 1, replies
                    assert len({reply.consecutive_429s for reply in replies}) == 1, replies
                    assert len({tuple(room.used for room in reply.windows) for reply in replies}) == 1, replies
                    if isinstance(replies[0], Granted):
                        assert len({getattr(reply, "source", None) for reply in replies}) == 1
                        in_flight.append(identity)
                elif in_flight:
                    identity = in_flight.pop(number % len(in_flight))
                    if kind == "refuse":
                        headers = RetryAfter(
                            retry_after=round(amount, 3), window_boundary=None, period=periods[0], uniform=0.5
                        )
                        holds = [memory.report_throttled(identity, headers), file.report_throttled(identity, headers)]
                        holds.append(await store.report_throttled(identity, headers))
                        assert holds == pytest.approx([holds[0]] * 3, abs=1e-4)
                    else:
                        outcome = {
                            "settle": RequestOutcome.ANSWERED,
                            "unsent": RequestOutcome.UNSENT,
                            "failed": RequestOutcome.FAILED,
                        }[kind]
                        memory.release(identity, outcome)
                        file.release(identity, outcome)
                        await store.release(identity, outcome)
        file.close()

    asyncio.run(play())


async def test_next_process_remembers_requests(server: RedisProcess) -> None:
    """The next process remembers what was spent."""
    hand, token = Hand(), next(tokens)
    async with opened(server, hand, token=token) as first:
        for number in (1, 2, 3):
            await first.claim(number)
            await first.release(number, RequestOutcome.ANSWERED)
    hand.passes(59)
    async with opened(server, hand, token=token) as second:
        assert await claim_all(second) == 1
        hand.passes(1)
        assert await claim_all(second) == 3


async def test_dead_process_counts_until_the_latest(server: RedisProcess) -> None:
    """Requests of a process that died count until the latest time at which they may be over."""
    hand, token = Hand(), next(tokens)
    async with opened(server, hand, token=token) as first:
        assert await claim_all(first) == 4
    hand.passes(79.9)
    async with opened(server, hand, token=token) as second:
        assert await claim_all(second) == 0
        hand.passes(0.2)
        assert await claim_all(second) == 4


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 30.0])
async def test_clock_jump_changes_nothing(server: RedisProcess, jump: float) -> None:
    """A jump of the server's clock neither frees nor blocks permits."""
    hand = Hand()
    async with opened(server, hand) as store:
        for number in range(4):
            await store.claim(number)
            await store.release(number, RequestOutcome.ANSWERED)
        hand.passes(1)
        hand.server += jump
        assert await claim_all(store) == 0
        hand.passes(58.5)
        assert await claim_all(store) == 0
        hand.passes(2.5)
        assert await claim_all(store) == 4


async def test_emptied_store_counts_as_full(server: RedisProcess) -> None:
    """A store that was emptied counts as full until nothing that was lost can matter."""
    hand, token = Hand(), next(tokens)
    client = await redis_client(server)
    async with opened(server, hand, token=token) as store, client:
        await store.claim(next(identities))
        await client.flushall()
        assert await claim_all(store) == 0
        async with opened(server, hand, token=token) as other:
            assert await claim_all(other) == 0
            hand.passes(79.9)
            assert await claim_all(other) == 0
            hand.passes(0.2)
            assert await claim_all(other) == 4


async def test_a_store_that_lost_a_part_counts_as_spent(server: RedisProcess) -> None:
    client = await redis_client(server)
    async with client:
        for part in ("spent", "from:", "state", "clock"):
            hand = Hand()
            async with opened(server, hand) as store:
                await store.claim(1)
                await store.release(1, RequestOutcome.ANSWERED)
                number = store._key.service_number if part in ("from:", "clock") else store._key.number
                (name,) = [key async for key in client.scan_iter(f"{{bulk-export}}:2:{number:x}:{part}")]
                await client.delete(name)
                assert await claim_all(store) == 0
                hand.passes(80.1)
                assert await claim_all(store) == 4


async def test_expired_keys_were_not_lost(server: RedisProcess) -> None:
    """Keys that expired by themselves do not count as lost."""
    hand = Hand()
    client = await redis_client(server)
    async with opened(server, hand) as store, client:
        await store.claim(1)
        await store.release(1, RequestOutcome.ANSWERED)
        hand.passes(100)
        await client.flushall()
        assert await claim_all(store) == 4


async def test_everything_expires_and_no_token_is_stored(server: RedisProcess) -> None:
    """Everything expires by itself, and no key holds the token."""
    client = await redis_client(server)
    async with opened(server) as store, client:
        assert await claim_all(store) == 4
        await store.release(1, RequestOutcome.ANSWERED)
        names = [name async for name in client.scan_iter()]
        assert len(names) >= 5
        for name in names:
            assert await client.pttl(name) > 0, name
            assert SECRET.encode() not in name + await client.dump(name)


async def test_lost_reply_is_not_counted_twice(server: RedisProcess) -> None:
    """A claim whose reply was lost is not counted twice."""
    async with opened(server) as store:
        first = await store.claim(77)
        again = await store.claim(77)
        assert isinstance(first, Granted)
        assert isinstance(again, Granted)
        assert again.windows[0].used == 1


async def test_processes_take_turns(server: RedisProcess) -> None:
    hand, token = Hand(), next(tokens)
    async with opened(server, hand, token=token) as one, opened(server, hand, token=token) as two:
        for number in range(4):
            await one.claim(number)
            await one.release(number, RequestOutcome.ANSWERED)
        hand.passes(59)
        assert isinstance(await two.claim(900), Wait)
        hand.passes(1)
        # Two asked before; one gets what two leaves.
        for _ in range(3):
            assert isinstance(await one.claim(next(identities)), Granted)
        assert isinstance(await one.claim(next(identities)), Wait)
        assert isinstance(await two.claim(901), Granted)


async def test_processes_keep_the_limit_in_real_time(server: RedisProcess) -> None:
    """Several processes keep to the limit in real time."""
    moments: list[float] = []
    token = next(tokens)

    async def process() -> None:
        async with budget_on(server, Limit(10, 0.5), token) as budget:
            for _ in range(9):
                permit = await budget.acquire()
                moments.append(anyio.current_time())
                await anyio.sleep(0.01)
                await budget.release(permit, RequestOutcome.ANSWERED)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(process)
    assert len(moments) == 36
    assert most_in_any_window(moments, 0.5) <= 10


async def test_usage_is_shown(server: RedisProcess) -> None:
    """The usage of each limit can be shown."""
    limits = Limits(Limit(5, 60), Limit(3, 30), ("127.0.0.1", "127.0.0.2"), 20.0)
    async with opened(server, None, limits) as store:
        for number in range(3):
            await store.claim(number)
            await store.release(number, RequestOutcome.ANSWERED)
        uses = [use for use in await anyio.to_thread.run_sync(read_usage, server.url) if use.token == store._key.token]
    assert [(use.address, use.limit, use.used) for use in uses] == [
        (None, Limit(5, 60), 3),
        ("127.0.0.1", Limit(3, 30), 2),
        ("127.0.0.2", Limit(3, 30), 1),
    ]
    assert all(55 < moment <= 60 for moment in uses[0].free_in)


async def test_missing_server_stops_the_start(own_server: RedisProcess) -> None:
    """A server that cannot be reached stops the start of a run."""
    own_server.kill()
    with pytest.raises(BudgetUnavailable, match="does not answer") as failure:
        async with budget_on(own_server, Limit(4, 1), "t"):
            pass
    assert failure.value.exit_code == 5
    with pytest.raises(BudgetUnavailable):
        await anyio.to_thread.run_sync(read_usage, own_server.url)


async def test_lost_server_is_waited_for(
    tmp_path: Path,
) -> None:
    """A server that is lost during a run is waited for, and still remembers what was spent."""
    own_server = RedisProcess(tmp_path, durable=True)
    notices: list[str] = []
    try:
        async with budget_on(own_server, Limit(4, 0.6), "t", notice=notices.append) as budget:
            permits = [await budget.acquire() for _ in range(3)]
            own_server.kill()
            await budget.release(permits[0], RequestOutcome.UNSENT)
            with anyio.move_on_after(0.3) as waited:
                await budget.acquire()
            assert waited.cancelled_caught
            own_server.start()
            before = anyio.current_time()
            await budget.acquire()
            assert anyio.current_time() - before >= 0.6
        said = ["does not answer", "was started again", "answers again"]
        assert [words in notice for words, notice in zip(said, notices, strict=True)] == [True] * 3
    finally:
        own_server.kill()


async def test_older_snapshot_frees_nothing(tmp_path: Path) -> None:
    """A server that comes back from an older snapshot lets nobody spend anew.

    This holds for processes at work and for new ones. Another service is held as well, and warnings say so.
    """
    hand, token, own_server = Hand(), next(tokens), RedisProcess(tmp_path)
    limits = Limits(Limit(4, 60), Limit(4, 60), (None,), 20.0, 10.0)
    try:
        async with opened(own_server, hand, limits, token) as store, await redis_client(own_server) as client:
            await store.claim(1)
            await store.release(1, RequestOutcome.UNSENT)
            await client.save()
            assert await spend_all(store) == 4
            own_server.kill()
            own_server.start()
            async with opened(own_server, hand, limits, token) as late, opened(own_server, hand, limits) as other:
                for held in (late, store, other):
                    assert await spend_all(held) == 0
                hand.passes(89.9)
                for held in (late, store, other):
                    assert await spend_all(held) == 0
                hand.passes(0.2)
                assert sum([await spend_all(held) for held in (late, store)]) == 4
                assert await spend_all(other) == 4
    finally:
        own_server.kill()


async def test_silent_rollback_is_noticed(server: RedisProcess) -> None:
    """A store that went back without a restart is noticed by processes at work."""
    hand, token = Hand(), next(tokens)
    async with opened(server, hand, token=token) as store, await redis_client(server) as client:
        await store.claim(1)
        await store.release(1, RequestOutcome.UNSENT)
        names = [name async for name in client.scan_iter("{bulk-export}:2:*")]
        before = {name: await client.dump(name) for name in names}
        hand.passes(1)
        assert await spend_all(store) == 4
        for name in {*names, *[name async for name in client.scan_iter("{bulk-export}:2:*")]}:
            await client.delete(name)
        for name, value in before.items():
            await client.restore(name, 0, value)
        assert await spend_all(store) == 0
        hand.passes(80.1)
        assert await spend_all(store) == 4


async def test_replica_counts_everything_as_spent(server: RedisProcess, tmp_path: Path) -> None:
    """A replica that takes over counts everything as spent."""
    hand, token, replica = Hand(), next(tokens), RedisProcess(tmp_path)
    try:
        async with opened(server, hand, token=token) as store, await redis_client(replica) as client:
            async with await redis_client(server) as first:
                await first.config_set("repl-diskless-sync-delay", 0)
            await store.claim(1)
            await store.release(1, RequestOutcome.UNSENT)
            await client.replicaof("127.0.0.1", server.port)
            with anyio.fail_after(20):
                while (await client.info("replication"))["master_link_status"] != "up":
                    await anyio.sleep(0.01)
            await client.replicaof("NO", "ONE")
            assert await spend_all(store) == 4
            async with opened(replica, hand, token=token) as after:
                assert await spend_all(after) == 0
                hand.passes(80.1)
                assert await spend_all(after) == 4
    finally:
        replica.kill()


async def test_a_record_of_a_newer_version_is_refused(own_server: RedisProcess) -> None:
    """At the start, when it is only read, and by processes at work when the newer version took the record over."""
    client = await redis_client(own_server)
    async with client, opened(own_server) as at_work:
        await client.hset("{bulk-export}:secret", mapping={"version": 3})
        await client.delete("{bulk-export}:2:secret")
        with pytest.raises(BudgetUnavailable, match="newer version") as refused:
            async with opened(own_server):
                pass
        assert refused.value.exit_code == 5
        assert "newer version" in refused.value.next_step
        with pytest.raises(BudgetUnavailable, match="newer version"):
            await at_work.claim(1)
        with pytest.raises(BudgetUnavailable, match="newer version"):
            await anyio.to_thread.run_sync(read_usage, own_server.url)
        assert [name async for name in client.scan_iter("{bulk-export}:2:secret")] == []


async def test_a_secret_of_the_version_before_without_anything_spent_holds_nobody_up(own_server: RedisProcess) -> None:
    client = await redis_client(own_server)
    async with client:
        await client.set("{bulk-export}:secret", "0" * 64)
        async with opened(own_server, Hand()) as store:
            assert await spend_all(store) == 4


async def test_routes_of_one_address_are_one(server: RedisProcess) -> None:
    """The default route and the same address by name share one limit."""
    granted = 0
    for host, sources in (("127.0.0.1", (None,)), ("localhost", ("127.0.0.1",)), ("[::1]", (None,))):
        chosen: dict[str, Any] = {"base_url": f"http://{host}:1", "sources": sources, "service_limit": Limit(3, 60)}
        async with budget_on(server, Limit(5, 60), f"t{granted}", **chosen) as budget:
            with anyio.move_on_after(0.2):
                for _ in range(3):
                    await budget.release(await budget.acquire(), RequestOutcome.ANSWERED)
                    granted += 1
    assert granted == 5


async def test_long_wait_is_remembered(server: RedisProcess) -> None:
    """An announced wait longer than a period is remembered to its end."""
    hand = Hand()
    async with opened(server, hand) as store, await redis_client(server) as client:
        await store.claim(1)
        hold = await store.report_throttled(
            1, RetryAfter(retry_after=800.0, window_boundary=None, period=60.0, uniform=0.0, longest=900.0)
        )
        assert hold == 800
        assert await client.pttl(f"{{bulk-export}}:2:{store._key.number:x}:state") > 800_000
        hand.passes(799)
        assert await claim_all(store) == 0
        hand.passes(1)
        assert await claim_all(store) == 1


async def test_tokens_share_the_address_limit(server: RedisProcess) -> None:
    """Tokens share the limit of an address, and not that of the service."""
    hand, base_url = Hand(), service_of(next(tokens))
    limits = Limits(Limit(3, 60), Limit(4, 60), ("127.0.0.1", "127.0.0.2"), 20.0)
    async with (
        opened(server, hand, limits, "one", base_url) as one,
        opened(server, hand, limits, "two", base_url) as two,
        opened(server, hand, limits, "three", base_url) as three,
    ):
        assert [await spend_all(store) for store in (one, two, three)] == [3, 3, 2]
        hand.passes(80.1)
        assert [await spend_all(store) for store in (three, two, one)] == [3, 3, 2]


async def test_emptied_server_counts_as_full(own_server: RedisProcess) -> None:
    """A server that was restarted empty counts as full."""
    async with budget_on(own_server, Limit(4, 1.0), "t", answer_timeout=0.5) as budget:
        for _ in range(4):
            await budget.release(await budget.acquire(), RequestOutcome.ANSWERED)
        own_server.kill()
        own_server.start()
        before = anyio.current_time()
        await budget.acquire()
        assert anyio.current_time() - before >= 1.5


async def test_refusing_server_stops_the_run(own_server: RedisProcess) -> None:
    """A server that refuses to count stops the run."""
    client = await redis_client(own_server)
    async with budget_on(own_server, Limit(4, 60), "t") as budget, client:
        await budget.acquire()
        await client.replicaof("127.0.0.1", 1)
        with pytest.raises(BudgetUnavailable, match="ReadOnlyError") as failure:
            await budget.acquire()
        assert failure.value.exit_code == 5


async def test_a_password_is_asked_for_and_never_shown(
    own_server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "bulk_export")
    client = await redis_client(own_server)
    async with client:
        await client.config_set("requirepass", "the-password")
    address = own_server.url.replace("redis://", "redis://:{}@")
    chosen: dict[str, Any] = {
        "base_url": service_of("t"),
        "token": Token("t"),
        "service_limit": Limit(4, 60),
        "ip_limit": Limit(4, 60),
        "min_interval": 0,
        "answer_timeout": 1,
    }
    async with open_rate_limiter(address.format("the-password"), **chosen) as budget:
        await budget.acquire()
    with pytest.raises(BudgetUnavailable) as failure:
        async with open_rate_limiter(address.format("wrong-password"), **chosen):
            pass
    assert "password" not in " ".join(failure.value.lines())
    assert "password" not in repr(RedisServer(address.format("the-password")))
    assert caplog.records
    assert not [record for record in caplog.records if "password" in record.getMessage()]


async def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UsageError, match="redis package") as failure:
        RedisLedger(RedisServer("redis://127.0.0.1/0"), service_of(SECRET), None, AGREED)
    assert "pip install 'bulk-export[redis]'" in failure.value.next_step
