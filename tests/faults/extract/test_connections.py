"""Connections that hold what nobody asked for, proxies, certificates, ~/.netrc, and headers that mean nothing."""

from __future__ import annotations

import base64
import errno
import json
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSStream

from bulk_export.core.credentials import Token
from bulk_export.core.model import Authorization
from bulk_export.errors import LocalFailure, ServiceFailing, UsageError
from bulk_export.extract.client import HttpClient, Timeouts
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import fetch_document
from tests.support.raw_server import Connection, answer, raw_server, read_head, response

SECRET = "canary-5A1f/9+x=Zq"
BODY = b'{"data":[{"id":"a"}]}'
PATIENT = Timeouts(connect=5, read=5, total=5)
SERVICE = "https://service.invalid"


def fetcher(base_url: str, **changes: Any) -> HttpClient:
    return HttpClient(base_url, Token(SECRET), **{"body_cap": 1 << 20, "timeouts": PATIENT} | changes)


def numbered(number: int, status: str = "200 OK") -> bytes:
    return response(b'{"data":[{"id":"%d"}]}' % number, status)


async def ids(client: HttpClient, times: int) -> list[str]:
    """The id in each of the answers to `times` requests that ask for 1, 2, 3, …"""
    found = []
    for number in range(1, times + 1):
        outcome = await client.get(f"/things?n={number}")
        assert isinstance(outcome, Response), outcome
        found.append(json.loads(outcome.body)["data"][0]["id"])
        await anyio.sleep(0.005)  # what the server sends unasked has to arrive
    return found


def asked(head: bytes) -> int:
    return int(head.split(b"n=")[1].split()[0])


STRAYS = {
    "an answer": numbered(99),
    "the same answer": b"",
    "part of an answer": numbered(99)[:30],
    "a refusal for being idle": response(b"", "408 Request Timeout"),
    "nonsense": b"\x00\x16 nonsense",
    "an empty line": b"\r\n",
}


@pytest.mark.parametrize("stray", STRAYS)
async def test_bytes_on_idle_connection_are_ignored(stray: str) -> None:
    """Bytes that arrive on an idle connection answer no request."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(numbered(asked(head)))
        if number in (1, 3):
            await anyio.sleep(0.001)
            await connection.send(STRAYS[stray] or numbered(asked(head)))

    async with raw_server(script) as server, fetcher(server.base_url) as client:
        assert await ids(client, 5) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_duplicate_response_is_read_once(chunked: bool) -> None:
    """A response that is sent twice in one piece is read once."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        content = numbered(asked(head))
        if chunked:
            body = content.partition(b"\r\n\r\n")[2]
            content = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        await connection.send(content + content)

    async with raw_server(script) as server, fetcher(server.base_url) as client:
        assert await ids(client, 4) == ["1", "2", "3", "4"]


async def test_unasked_bytes_end_reuse() -> None:
    """After bytes that nobody asked for no connection is used twice, and one warning says so."""
    ports, said = [], list[str]()

    async def script(connection: Connection, head: bytes, number: int) -> None:
        ports.append(connection.extra(anyio.abc.SocketAttribute.remote_port))
        await connection.send(numbered(asked(head)))
        await connection.send(numbered(asked(head)))

    async with raw_server(script) as server, fetcher(server.base_url, notice=said.append) as client:
        assert await ids(client, 4) == ["1", "2", "3", "4"]
    assert len(set(ports)) == 4
    assert len(said) <= 1


def tls_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


@pytest.fixture
def _netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine service.invalid login me password netrc-canary\ndefault login me password netrc-canary\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def proxy_script(context: ssl.SSLContext, heads: list[bytes]) -> Any:
    """A proxy that is the service as well: it answers CONNECT, and then the request inside."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        heads.append(head)
        await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        tls = await TLSStream.wrap(connection, server_side=True, ssl_context=context, standard_compatible=False)
        inner = await read_head(tls)
        assert inner is not None
        heads.append(inner)
        await tls.send(response(BODY))
        raise anyio.EndOfStream

    return script


@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.usefixtures("_netrc")
async def test_environment_proxy_is_used_without_netrc(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """A proxy of the environment is used, and ~/.netrc is not."""
    heads: list[bytes] = []
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with raw_server(proxy_script(tls_context(authority, "service.invalid"), heads)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}user:p%40ss@127.0.0.1:{proxy.port}")
        for auth in (Authorization(), Authorization(header="X-Api-Key", scheme="")):
            async with fetcher(SERVICE, auth=auth, ca_file=ca_file) as client:
                outcome = await client.get("/things")
            assert isinstance(outcome, Response), outcome
    tunnel, request, _, other = (head.lower() for head in heads)
    assert b"proxy-authorization: basic " + base64.b64encode(b"user:p@ss").lower() in tunnel
    assert SECRET.lower().encode() not in tunnel
    assert b"authorization: bearer " + SECRET.lower().encode() in request
    assert b"proxy-authorization" not in request
    assert b"authorization" not in other
    assert b"netrc-canary" not in b"".join(heads)
    assert base64.b64encode(b"me:netrc-canary") not in b"".join(heads)


@pytest.mark.usefixtures("_netrc")
async def test_netrc_changes_nothing(authority: trustme.CA, ca_file: Path) -> None:
    """A matching ~/.netrc changes nothing without a proxy."""
    async with (
        raw_server(answer(response(BODY)), tls=tls_context(authority, "localhost")) as server,
        fetcher(f"https://localhost:{server.port}", ca_file=ca_file) as client,
    ):
        outcome = await client.get("/things")
    assert isinstance(outcome, Response), outcome
    assert b"authorization: bearer " + SECRET.lower().encode() in server.requests[0].lower()


@pytest.mark.usefixtures("_netrc")
async def test_description_is_fetched_without_netrc(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published description is fetched without the credentials of ~/.netrc."""
    heads: list[bytes] = []
    async with raw_server(proxy_script(tls_context(authority, "service.invalid"), heads)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        assert await fetch_document(f"{SERVICE}/spec.yaml", ca_file=ca_file) == BODY
    assert b"authorization" not in b"".join(heads).lower()


@pytest.mark.parametrize("no_proxy", ["service.invalid", ".invalid", "*", "service.invalid:443"])
async def test_no_proxy_host_is_reached_directly(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    """A host that is excluded from proxies is not reached through one."""
    async with raw_server(answer(response(b"", "407 Proxy"))) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", no_proxy)
        async with fetcher(SERVICE) as client:
            outcome = await client.get("/things")
    assert isinstance(outcome, RequestFailed)
    assert "resolved" in outcome.reason
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("status", "said", "final"),
    [("407 Who are you", "user name and a password", True), ("403 No", "403", True), ("502 Bad", "502", False)],
)
async def test_proxy_response_is_named(monkeypatch: pytest.MonkeyPatch, status: str, said: str, final: bool) -> None:
    """A response of the proxy is called the proxy's."""
    async with raw_server(answer(response(b"", status))) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with fetcher(SERVICE) as client:
            outcome = await client.get("/things")
    assert isinstance(outcome, RequestFailed)
    assert "the proxy" in outcome.reason
    assert said in outcome.reason
    assert (outcome.final, outcome.sent) == (final, False)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:secret@[bad:1",
        "http://me:se#cret@h:1",
        "http://me:secret@h:99999",
        "socks5://me:secret@h:1",
        "http://me:secret@",
        "://secret@",
        "http://me%3Ayou:secret@h:1",
    ],
)
async def test_proxy_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """The message about a proxy that is not an address does not show its password."""
    monkeypatch.setenv("https_proxy", proxy)
    async with fetcher(SERVICE) as client:
        outcome = await client.get("/things")
    assert isinstance(outcome, RequestFailed)
    assert outcome.final
    assert "HTTPS_PROXY" in outcome.reason
    assert "secret" not in repr(outcome)
    with pytest.raises(ServiceFailing, match="HTTPS_PROXY"):
        await fetch_document(f"{SERVICE}/spec.yaml")


async def test_missing_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about a proxy that cannot be reached names the proxy."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    async with fetcher(SERVICE) as client:
        outcome = await client.get("/things")
    assert isinstance(outcome, RequestFailed)
    assert outcome.reason.startswith("no connection to the proxy")


async def test_own_authority_is_trusted_by_option(authority: trustme.CA, ca_file: Path) -> None:
    """A certificate of a private authority is trusted with its file; without it the message names the option."""
    async with raw_server(answer(response(BODY)), tls=tls_context(authority, "localhost")) as server:
        async with fetcher(f"https://localhost:{server.port}", ca_file=ca_file) as client:
            assert isinstance(await client.get("/things"), Response)
        async with fetcher(f"https://localhost:{server.port}") as client:
            outcome = await client.get("/things")
    assert isinstance(outcome, RequestFailed)
    assert outcome.reason.startswith("the service's certificate is not trusted")
    assert outcome.final
    assert "--ca-file" in outcome.advice
    assert "SSL_CERT_FILE" in outcome.advice


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAA\n"])
def test_file_without_certificates_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A file without certificates is refused before anything is sent."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="--ca-file"):
        ExportOptions.of(base_url=SERVICE, token="t", ca_file=file)


JUNK = [
    "Location: http://[bad\r\n",
    "Location: http://h:99999/\r\n",
    "Location: //[\r\n",
    "Location: \xff\xfe\r\n",
    "Location: https://xn--a/\r\n",
    "Retry-After: 99999999999999999999\r\n",
    "Retry-After: \xb2\r\n",
    "Retry-After: Mon, 99 Foo 99999 99:99:99 GMT\r\n",
    "Date: yesterday\r\n",
    "Date: Fri, 31 Dec 9999 23:59:59 -9999\r\n",
    "Content-Type: \xff; charset=\xfe\r\n",
    "Content-Encoding: \xb2\r\n",
    "Set-Cookie: \x01=\xff; expires=never\r\n",
]


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "429 Slow", "503 Down"])
async def test_meaningless_headers_are_ignored(status: str) -> None:
    """Headers without a valid meaning cause no failure."""
    outcomes = []
    for header in JUNK:
        content = response(BODY, status).replace(b"\r\n", b"\r\n" + header.encode("latin-1"), 1)
        async with raw_server(answer(content, close=True)) as server, fetcher(server.base_url) as client:
            outcomes.append(await client.get("/things"))
    assert all(isinstance(outcome, Response | RequestFailed) for outcome in outcomes)


@pytest.mark.parametrize("length", ["-1", "1e3", "999999999999999999999999", "5, 6", "\xb2", "0x10", ""])
async def test_invalid_length_is_a_failure(length: str) -> None:
    """An invalid Content-Length is a failure."""
    content = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1") + BODY
    async with raw_server(answer(content, close=True)) as server, fetcher(server.base_url) as client:
        outcome = await client.get("/things")
    assert isinstance(outcome, RequestFailed)


@pytest.mark.parametrize("cut", ["in its body", "stalled", "too large", "not gzip"])
async def test_rejection_counts_without_its_body(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rejection counts even if its body does not arrive."""
    monkeypatch.setattr("bulk_export.extract.client._EXPLANATION_SECONDS", 0.05)
    packed = "Retry-After: 7\r\n" + ("Content-Encoding: gzip\r\n" if cut == "not gzip" else "")
    content = response(b"slow", "429 Slow", packed, length=10**9 if cut == "too large" else 4 + (cut != "not gzip"))
    content = content.replace(b"application/json", b"text/plain")

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(content)
        if cut == "stalled":
            await anyio.sleep_forever()
        raise anyio.EndOfStream

    async with raw_server(script) as server, fetcher(server.base_url) as client:
        outcome = await client.get("/things")
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.retry_after) == (429, "7")
    assert outcome.message == ("" if cut == "not gzip" else "slow")


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        quote(SECRET, safe=""),
        "".join(f"\\\\u{ord(character):04x}" for character in SECRET),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        SECRET.encode().hex().upper(),
        "x" * 290 + SECRET,
    ],
)
async def test_repeated_token_is_masked(echo: str) -> None:
    """A token that the service repeats is masked."""
    body = json.dumps({"error": f"unknown token {echo}"}).encode()
    plain = f"unknown {echo}".encode()
    kind = b"Content-Type: text/plain"
    for content in (
        response(body, "401 No"),
        response(plain, "401 No").replace(b"Content-Type: application/json", kind),
        response(b"", "302 Found", f"Location: https://{echo.replace('/', '.')}.example/\r\n"),
    ):
        async with raw_server(answer(content)) as server, fetcher(server.base_url) as client:
            outcome = await client.get("/things")
        assert isinstance(outcome, Response)
        for part in (SECRET, SECRET[:8], SECRET[-8:], quote(SECRET, safe=""), SECRET.encode().hex()[:16]):
            assert part.lower() not in outcome.message.lower()
        assert echo not in outcome.message


async def test_deceiving_characters_are_escaped() -> None:
    """Characters that would deceive a reader are escaped."""
    body = json.dumps({"error": "no\u202egnp.exe\x1b[2J"}).encode()
    async with raw_server(answer(response(body, "403 No"))) as server, fetcher(server.base_url) as client:
        outcome = await client.get("/things")
    assert isinstance(outcome, Response)
    assert outcome.message == "no\\u202egnp.exe\\u001b[2J"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_too_few_open_files_are_a_local_failure(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_: object, **__: object) -> socket.socket:
        raise OSError(number, "no more")

    async with raw_server(answer(response(BODY))) as server, fetcher(server.base_url) as client:
        monkeypatch.setattr("socket.socket", no_more)
        with pytest.raises(LocalFailure, match="files and connections"):
            await client.get("/things")
        monkeypatch.undo()
    assert server.requests == []


async def test_foreign_source_address_is_final() -> None:
    """A source address that this machine does not have is a final error."""
    async with raw_server(answer(response(BODY))) as server, fetcher(server.base_url, sources=["192.0.2.7"]) as client:
        outcome = await client.get("/things", "192.0.2.7")
    assert isinstance(outcome, RequestFailed)
    assert (outcome.final, outcome.sent) == (True, False)
    assert "192.0.2.7" in outcome.reason
