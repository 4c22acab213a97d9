"""The bundled service behaves as the real one is known to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from yarl import URL

from bulk_export.core.model import Limit
from bulk_export.services.catalogue import load_service
from bulk_export.services.local import LocalService, LocalServiceSettings, serving

NPQ = load_service("npq")


class Client:
    def __init__(self, session: aiohttp.ClientSession, service: LocalService) -> None:
        self._session = session
        self.service = service

    async def get(self, target: str, token: str | None = "t") -> tuple[int, Any, aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = URL(self.service.base_url + target, encoded=True)
        async with self._session.get(url, headers=headers) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json else text, response

    async def ids(self, path: str, query: str = "") -> list[str]:
        status, body, _ = await self.get(f"/api/v3/{path}?{query}")
        assert status == 200, body
        return [record["id"] for record in body["data"]]


@asynccontextmanager
async def client(source: str | None = None, **changes: Any) -> AsyncIterator[Client]:
    settings = LocalServiceSettings(**{"service": NPQ, "token": "t", "records": 250} | changes)
    connector = aiohttp.TCPConnector(local_addr=(source, 0) if source else None)
    async with serving(settings) as service, aiohttp.ClientSession(connector=connector) as session:
        yield Client(session, service)


@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_without_the_token_access_is_denied(token: str | None) -> None:
    async with client() as it:
        status, body, _ = await it.get("/api/v3/statements", token)
    assert (status, body) == (401, {"error": "HTTP Token: Access denied"})


async def test_page_sizes() -> None:
    """Pages have 100 records by default, and 3,000 at most."""
    async with client(records=3_500) as it:
        assert len(await it.ids("npq-applications")) == 100
        assert len(await it.ids("npq-applications", "page[per_page]=7")) == 7
        assert len(await it.ids("npq-applications", "page%5Bper_page%5D=9999")) == 3_000
        assert len(await it.ids("npq-applications", "page[per_page]=3000&page[page]=2")) == 500
        _, body, response = await it.get("/api/v3/npq-applications?page[per_page]=3000&page[page]=3")
    assert body == {"data": []}
    assert "Link" not in response.headers


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.5"])
async def test_invalid_page_is_a_bad_request(page: str) -> None:
    """An invalid page number is a bad request."""
    async with client() as it:
        status, body, _ = await it.get(f"/api/v3/statements?page[page]={page}")
    assert status == 400
    assert set(body["errors"][0]) == {"title", "detail"}


@pytest.mark.parametrize("endpoint", [endpoint.name for endpoint in NPQ.endpoints])
async def test_records_are_the_same_on_every_run(endpoint: str) -> None:
    """Every endpoint serves the same records on every run."""
    (path,) = [one.path for one in NPQ.endpoints if one.name == endpoint]
    served = []
    for _ in range(2):
        async with client() as it:
            status, body, _ = await it.get(f"{path}?page[per_page]=3000&sort=created_at,id")
            assert status == 200
            truth = list(it.service.truth(endpoint))
            assert sorted(body["data"], key=str) == sorted(truth, key=str)
            served.append(truth)
    assert served[0] == served[1]
    assert len({record["id"] for record in served[0]}) == 250


async def test_ties_are_shuffled_unless_sorted() -> None:
    """Ties come in another order with each request unless they are sorted."""
    async with client() as it:
        for path in ("npq-applications", "statements", "delivery-partners"):
            orders = {tuple(await it.ids(path, "page[per_page]=250")) for _ in range(3)}
            assert len(orders) == 3
            assert len({frozenset(order) for order in orders}) == 1
        sorted_orders = {tuple(await it.ids("npq-applications", "sort=created_at,id")) for _ in range(3)}
        assert len(sorted_orders) == 1
        stable = {tuple(await it.ids("participant-declarations")) for _ in range(3)}
        assert len(stable) == 1


async def test_sorting_follows_the_names_given() -> None:
    async with client() as it:
        _, body, _ = await it.get("/api/v3/npq-applications?sort=-updated_at,id&page[per_page]=250")
    moments = [record["attributes"]["updated_at"].replace(".000", "") for record in body["data"]]
    assert moments == sorted(moments, reverse=True)


async def test_filters_are_decoded_a_second_time() -> None:
    async with client() as it:
        every = len(await it.ids("npq-applications", "page[per_page]=3000"))
        some = await it.ids("npq-applications", "page[per_page]=3000&filter[updated_since]=2021-09-02T00:00:00Z")
        assert 0 < len(some) < every
        status, _, _ = await it.get("/api/v3/npq-applications?filter[updated_since]=2021-09-01T00:00:00%2B01:00")
        assert status == 400
        status, _, _ = await it.get("/api/v3/npq-applications?filter[updated_since]=2021-09-01T00:00:00%252B01:00")
        assert status == 200


@pytest.mark.parametrize(
    "query", ["filter[nonsense]=1", "filter[cohort]=x", "filter[participant_id]=x", "filter[updated_since]=soon"]
)
async def test_wrong_filter_is_refused(query: str) -> None:
    """A filter that is unknown or malformed is refused."""
    async with client() as it:
        status, body, _ = await it.get(f"/api/v3/npq-applications?{query}")
    assert status in (400, 422)
    assert body["errors"]


async def test_filters_select() -> None:
    async with client() as it:
        truth = list(it.service.truth("npq-applications"))
        person = truth[7]["attributes"]["participant_id"]
        mine = await it.ids("npq-applications", f"filter[participant_id]={person}")
        assert set(mine) == {one["id"] for one in truth if one["attributes"]["participant_id"] == person}
        years = await it.ids("npq-applications", "page[per_page]=3000&filter[cohort]=2021,2022")
        assert set(years) == {one["id"] for one in truth if one["attributes"]["cohort"] in ("2021", "2022")}


async def test_records_refer_to_each_other() -> None:
    async with client() as it:
        people = {record["id"] for record in it.service.truth("participants-npq")}
        applications = {record["id"]: record for record in it.service.truth("npq-applications")}
        declarations = list(it.service.truth("participant-declarations"))
    per_person = Counter(one["attributes"]["participant_id"] for one in applications.values())
    assert set(per_person) <= people
    assert set(per_person.values()) == {1, 2}
    assert {one["attributes"]["status"] for one in applications.values()} == {"pending", "accepted", "rejected"}
    assert all(one["attributes"]["application_id"] in applications for one in declarations)


async def test_texts_are_awkward() -> None:
    """Texts contain characters that are hard to handle."""
    async with client(records=2_000) as it:
        text = json.dumps(list(it.service.truth("npq-applications")), ensure_ascii=False)
    for awkward in ("\u2028", "\\u0000", "\\n", '\\"', "\U00020000", "שלום", '""'):
        assert awkward in text


@pytest.mark.parametrize("windows", ["fixed", "rolling"])
async def test_throttled_requests_count(windows: Any) -> None:
    """Beyond a limit a bare 429 is sent, and throttled requests count."""
    now = [1_000.0]
    async with client(service_limit=Limit(3, 10), windows=windows, clock=lambda: now[0]) as it:
        statuses = [(await it.get("/api/v3/statements"))[0] for _ in range(5)]
        _, body, response = await it.get("/api/v3/statements")
        assert statuses == [200, 200, 200, 429, 429]
        assert (body, response.content_type) == ("Retry later\n", "text/plain")
        assert "Retry-After" not in response.headers
        now[0] += 10
        assert (await it.get("/api/v3/statements"))[0] == 200


async def test_fixed_and_rolling_windows() -> None:
    """Fixed windows are aligned to the epoch, and rolling ones are not."""
    seen = {}
    for windows in ("fixed", "rolling"):
        now = [1_009.0]
        async with client(service_limit=Limit(2, 10), windows=windows, clock=lambda now=now: now[0]) as it:
            statuses = [(await it.get("/api/v3/statements"))[0] for _ in range(2)]
            now[0] = 1_011.0
            seen[windows] = [*statuses, (await it.get("/api/v3/statements"))[0]]
    assert seen == {"fixed": [200, 200, 200], "rolling": [200, 200, 429]}


async def test_each_address_has_a_limit_of_its_own() -> None:
    settings = LocalServiceSettings(service=NPQ, token="t", records=10, ip_limit=Limit(2, 1_000), clock=lambda: 0.0)
    async with serving(settings) as service:
        for source in ("127.0.0.1", "127.0.0.2"):
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(source, 0))) as session:
                it = Client(session, service)
                assert [(await it.get("/api/v3/statements"))[0] for _ in range(3)] == [200, 200, 429]
        assert {record.peer for record in service.log} == {"127.0.0.1", "127.0.0.2"}


async def test_gzip_only_if_accepted() -> None:
    """Responses are compressed for clients that accept gzip only."""
    async with client(gzip=True) as it:
        _, body, response = await it.get("/api/v3/statements")
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(body["data"]) == 100


async def test_faults_happen_at_their_rate() -> None:
    async with client(error_rate=0.5, records=5) as it:
        statuses = Counter([(await it.get("/api/v3/statements"))[0] // 100 for _ in range(200)])
        assert 60 < statuses[5] < 140
    async with client(garbage_rate=1.0) as it:
        assert (await it.get("/api/v3/statements"))[2].content_type == "text/html"
    async with client(reset_rate=1.0) as it:
        with pytest.raises(aiohttp.ClientError):
            await it.get("/api/v3/statements")


async def test_records_change_while_it_runs() -> None:
    async with client() as it:
        gone = it.service.remove("statements", 3)
        it.service.append("statements", 2)
        touched = it.service.touch("statements", 0)
        ids = await it.ids("statements", "page[per_page]=3000")
        assert gone not in ids
        assert len(set(ids)) == 251
        fresh = await it.ids("statements", "filter[updated_since]=2026-01-01T00:00:00Z")
        newest = {record["id"] for record in list(it.service.truth("statements"))[-2:]}
        assert set(fresh) == {touched} | newest
    for kinds, left in ((("append",), 280), (("vanish",), 220), (("touch",), 250)):
        async with client(churn=1.0, churn_kinds=kinds) as it:
            for _ in range(30):
                await it.ids("statements")
            assert it.service.count("statements") == left


async def test_records_take_no_memory() -> None:
    """Three million records take no memory of their own."""
    async with client(records=3_000_000) as it:
        assert len(await it.ids("npq-applications", "page[per_page]=300&page[page]=10000&sort=created_at,id")) == 300
        assert await it.ids("npq-applications", "page[per_page]=300&page[page]=10001&sort=created_at,id") == []


async def test_many_services_run_side_by_side() -> None:
    async with client() as one, client(records=3) as other:
        sizes = await asyncio.gather(one.ids("statements"), other.ids("statements"))
    assert [len(size) for size in sizes] == [100, 3]
