"""What the network and a misbehaving server can do to one request."""

from __future__ import annotations

import gzip
import socket
import ssl
import tracemalloc
from pathlib import Path

import anyio
import pytest
import trustme

from bulk_export.core.credentials import Token
from bulk_export.extract.client import HttpClient, Timeouts
from bulk_export.extract.response import RequestFailed, Response
from tests.support.raw_server import Connection, answer, raw_server, response

BODY = b'{"data":[{"id":"a"}]}'
CAP = 1 << 20
PATIENT = Timeouts(connect=5, read=5, total=5)
HASTY = Timeouts(connect=0.2, read=0.2, total=0.4)


def fetcher(base_url: str, timeouts: Timeouts = PATIENT) -> HttpClient:
    return HttpClient(base_url, Token("canary-token"), body_cap=CAP, timeouts=timeouts)


async def get(base_url: str, timeouts: Timeouts = PATIENT, times: int = 1) -> list[Response | RequestFailed]:
    async with fetcher(base_url, timeouts) as client:
        return [await client.get("/things?page%5Bpage%5D=1") for _ in range(times)]


def assert_failure(outcome: Response | RequestFailed, reason: str, *, sent: bool = True, final: bool = False) -> None:
    assert isinstance(outcome, RequestFailed)
    assert reason in outcome.reason
    assert (outcome.sent, outcome.final) == (sent, final)
    assert "canary" not in repr(outcome)


async def test_response_is_given_as_sent_and_inflated() -> None:
    """A complete response is given with its body both as it was sent and inflated."""
    packed = gzip.compress(BODY)
    async with raw_server(answer(response(packed, headers="Content-Encoding: gzip\r\n"))) as server:
        (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.body, outcome.stored, outcome.encoding) == (200, BODY, packed, "gzip")
    head = server.requests[0].lower()
    assert b"authorization: bearer canary-token\r\n" in head
    assert b"accept-encoding: gzip\r\n" in head


async def test_several_requests_share_a_kept_connection() -> None:
    ports = []

    async def script(connection: Connection, head: bytes, number: int) -> None:
        ports.append(connection.extra(anyio.abc.SocketAttribute.remote_port))
        await connection.send(response(BODY))

    async with raw_server(script) as server:
        await get(server.base_url, times=3)
    assert len(ports) == 3
    assert len(set(ports)) == 1


async def test_refused_connection_sent_nothing() -> None:
    """A refused connection sent nothing, so the request did not count."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (outcome,) = await get(f"http://127.0.0.1:{port}")
    assert_failure(outcome, "no connection", sent=False)


async def test_unresolved_host_sent_nothing() -> None:
    """A host name that does not resolve sent nothing, so the request did not count."""
    (outcome,) = await get("http://does-not-exist.invalid")
    assert_failure(outcome, "could not be resolved", sent=False)


async def test_reset_may_have_counted() -> None:
    """A connection that is reset before the response is a failure, and the service may have counted the request."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        raw = connection.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise anyio.EndOfStream

    async with raw_server(script) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "clos")
    assert len(server.requests) == 1


async def test_request_is_never_repeated_by_aiohttp() -> None:
    """A kept connection that is dead is not used twice without our knowledge.

    Each request on the wire is one call of ours: aiohttp's own repetition never happens.
    """

    async def script(connection: Connection, head: bytes, number: int) -> None:
        if number == 2:
            raise anyio.EndOfStream
        await connection.send(response(BODY))

    async with raw_server(script) as server:
        first, second, third = await get(server.base_url, times=3)
    assert isinstance(first, Response)
    assert_failure(second, "closed")
    assert isinstance(third, Response)
    assert len(server.requests) == 3


@pytest.mark.parametrize("missing", [1, len(BODY)])
async def test_a_body_shorter_than_announced_is_a_failure(missing: int) -> None:
    content = response(BODY, length=len(BODY) + missing)
    async with raw_server(answer(content, close=True)) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "cut short")


async def test_cut_gzip_stream_is_a_failure() -> None:
    """A gzip stream that is cut is a failure even if the length matches."""
    cut = gzip.compress(BODY * 100)[:-12]
    async with raw_server(answer(response(cut, headers="Content-Encoding: gzip\r\n"))) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "cut short")


async def test_a_stalled_answer_times_out() -> None:
    async def script(connection: Connection, head: bytes, number: int) -> None:
        await anyio.sleep_forever()

    async with raw_server(script) as server:
        (outcome,) = await get(server.base_url, HASTY)
    assert_failure(outcome, "in time")


async def test_trickle_times_out() -> None:
    """A response that trickles in times out although bytes keep coming."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(response(b"", length=1_000))
        while True:
            await connection.send(b" ")
            await anyio.sleep(0.05)

    async with raw_server(script) as server:
        (outcome,) = await get(server.base_url, HASTY)
    assert_failure(outcome, "in time")


async def test_an_answer_in_slices_of_a_byte_is_put_together() -> None:
    async def script(connection: Connection, head: bytes, number: int) -> None:
        for position in range(len(content)):
            await connection.send(content[position : position + 1])

    content = response(BODY)
    async with raw_server(script) as server:
        (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)
    assert outcome.body == BODY


async def test_a_chunked_answer_is_put_together() -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:])) + b"0\r\n\r\n"
    async with raw_server(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)) as server:
        (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)
    assert outcome.body == BODY


async def test_gzip_bomb_is_final() -> None:
    """A gzip bomb is given up at the cap and not retried."""
    bomb = gzip.compress(bytes(64 * CAP))
    tracemalloc.start()
    try:
        async with raw_server(answer(response(bomb, headers="Content-Encoding: gzip\r\n"))) as server:
            (outcome,) = await get(server.base_url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_failure(outcome, "beyond the size cap", final=True)
    assert peak < 8 * CAP


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "zstd", "nonsense"])
async def test_encoding_not_asked_for_is_a_failure(encoding: str) -> None:
    """A response in an encoding that was not requested is a failure."""
    async with raw_server(answer(response(BODY, headers=f"Content-Encoding: {encoding}\r\n"))) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "not asked for")


async def test_length_beyond_cap_is_not_read() -> None:
    """A body whose announced length is beyond the cap is not read."""
    async with raw_server(answer(response(b"", length=10 * 1024**3))) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "more than", final=True)


async def test_an_endless_body_is_given_up_at_the_cap() -> None:
    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await connection.send(bytes(65_536))

    async with raw_server(script) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "more than", final=True)


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 OK fine\r\n\r\n",
        b"\x16\x03\x01 not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 9_000 + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_response_that_is_not_http(content: bytes) -> None:
    """The message about a response that is not HTTP says so."""
    async with raw_server(answer(content, close=True)) as server:
        (outcome,) = await get(server.base_url)
    assert_failure(outcome, "not valid HTTP")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirect_is_never_followed(status: str) -> None:
    """A redirect is never followed, and its target receives nothing."""
    async with raw_server(answer(response(BODY))) as target:
        location = f"Location: http://127.0.0.1:{target.port}/things\r\n"
        async with raw_server(answer(response(b"", status, location))) as server:
            (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)
    assert outcome.status == int(status[:3])
    assert outcome.message == "a redirect to 127.0.0.1"
    assert target.requests == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"HTTP Token: Access denied"}', "HTTP Token: Access denied"),
        (b'{"errors":[{"title":"Bad","detail":"no\\nway"},{"title":"Worse"}]}', "Bad: no way; Worse"),
        (b'{"errors":"odd"}', ""),
        (b"[1]", ""),
        (b"<html>", ""),
        (b"[" * 5_000, ""),
        (b"\xff\xfe", ""),
    ],
)
async def test_service_message_is_one_line(body: bytes, message: str) -> None:
    """The service's own message is given on one line."""
    async with raw_server(answer(response(body, "422 No"))) as server:
        (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.message) == (422, message)


async def test_retry_after_and_date_are_passed_on() -> None:
    headers = "Retry-After: 7\r\nDate: Mon, 31 May 2021 02:21:32 GMT\r\n"
    async with raw_server(answer(response(b"Retry later\n", "429 Too Many", headers))) as server:
        (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)
    assert (outcome.retry_after, outcome.date) == ("7", "Mon, 31 May 2021 02:21:32 GMT")


async def test_requests_leave_from_source_address() -> None:
    """Requests leave from the source address that was chosen."""
    peers = []

    async def script(connection: Connection, head: bytes, number: int) -> None:
        peers.append(connection.extra(anyio.abc.SocketAttribute.remote_address)[0])
        await connection.send(response(BODY))

    async with raw_server(script) as server:
        sources = ["127.0.0.2", "127.0.0.3"]
        async with HttpClient(server.base_url, Token("t"), sources=sources, body_cap=CAP, timeouts=PATIENT) as client:
            for source in [*sources, sources[0]]:
                await client.get("/", source)
    assert peers == ["127.0.0.2", "127.0.0.3", "127.0.0.2"]


async def test_proxy_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is not used for this machine."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    async with raw_server(answer(response(BODY))) as server:
        (outcome,) = await get(server.base_url)
    assert isinstance(outcome, Response)


class Certificates:
    """A private certificate authority that clients of this process trust, and one that they do not."""

    def __init__(self, folder: Path) -> None:
        self.trusted = trustme.CA()
        self.stranger = trustme.CA()
        self.bundle = folder / "authorities.pem"
        self.trusted.cert_pem.write_to_path(str(self.bundle))

    def context(self, authority: trustme.CA, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        return context


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    made = Certificates(tmp_path)
    trusting = ssl.create_default_context(cafile=str(made.bundle))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    return made


async def test_a_trusted_certificate_is_accepted(certificates: Certificates) -> None:
    context = certificates.context(certificates.trusted, "localhost")
    async with raw_server(answer(response(BODY)), tls=context) as server:
        (outcome,) = await get(f"https://localhost:{server.port}")
    assert isinstance(outcome, Response), outcome


@pytest.mark.parametrize("fault", ["self-signed", "wrong host"])
async def test_wrong_certificate_is_final(certificates: Certificates, fault: str) -> None:
    """A wrong certificate is refused, and not retried."""
    if fault == "self-signed":
        context = certificates.context(certificates.stranger, "localhost")
    else:
        context = certificates.context(certificates.trusted, "example.com")
    async with raw_server(answer(response(BODY)), tls=context) as server:
        (outcome,) = await get(f"https://localhost:{server.port}")
    assert_failure(outcome, "certificate is not trusted", sent=False, final=True)
    assert server.requests == []


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_cancelled_requests_close_descriptors() -> None:
    """No descriptor stays open when requests are cancelled."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await anyio.sleep_forever()

    before = open_descriptors()
    async with raw_server(script) as server, fetcher(server.base_url) as client:
        for _ in range(5):
            with anyio.move_on_after(0.02):
                await client.get("/")
    await anyio.sleep(0)
    assert open_descriptors() <= before


async def test_unpaged_response_may_be_larger() -> None:
    """A response with everything may be larger and take longer than a page."""
    large = b" " * (CAP + 1)
    hurried = Timeouts(connect=5, read=5, total=0, unpaged=5)
    async with raw_server(answer(response(large))) as server, fetcher(server.base_url, hurried) as client:
        assert_failure(await client.get("/things"), "no whole answer in time")
        whole = await client.get("/things", is_unpaged=True)
    assert isinstance(whole, Response)
    assert len(whole.body) == len(large)
    async with raw_server(answer(response(large))) as server:
        (capped,) = await get(server.base_url)
    assert_failure(capped, "a body of more than", final=True)


async def test_lapsed_permit_is_not_used() -> None:
    """A request whose permit lapses while its connection is made is not sent.

    It is asked right before the bytes go out, on a new connection and on a kept one.
    """
    async with raw_server(answer(response(BODY))) as server, fetcher(server.base_url) as client:
        for allowed in (False, True, False, True):
            outcome = await client.get_while(lambda allowed=allowed: allowed, "/things")  # type: ignore[misc]
            assert isinstance(outcome, Response) == allowed
            assert outcome is not None or not allowed
        assert isinstance(await client.get("/things"), Response)
    assert len(server.requests) == 3
