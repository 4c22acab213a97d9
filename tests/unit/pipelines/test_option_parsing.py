"""Checks of single options: what is accepted, what it becomes, and what is refused with advice."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import NO_LIMIT, Limit
from bulk_export.errors import UsageError
from bulk_export.pipelines.option_parsing import (
    base_url_of,
    budget_of,
    count_of,
    directory_of,
    duration_of,
    formats_of,
    instant_of,
    limit_of,
    output_of,
    page_size_of,
    redaction_of,
    share_of,
    sources_of,
    texts_of,
)
from bulk_export.services.catalogue import load_service

NPQ = load_service("npq")


def refusal(check: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as refused:
        check(*arguments, **options)
    assert refused.value.next_step
    return " ".join(refused.value.lines())


def address(environment: str | None, base_url: str | None, *, allow_plain_http: bool = False) -> str | None:
    return base_url_of(NPQ, environment, base_url, allow_plain_http=allow_plain_http)


def test_exactly_one_address() -> None:
    """An environment or a base URL is required, and not both."""
    assert "missing" in refusal(address, None, None)
    assert "both given" in refusal(address, "sandbox", "https://example.org")
    assert address("sandbox", None) == "https://npq-registration-sandbox-web.teacherservices.cloud"
    assert address("local", None) is None
    assert "no environment" in refusal(address, "production", None)


@pytest.mark.parametrize(
    "url",
    [
        "example.org",
        "ftp://example.org",
        "https://",
        "https://u:p@example.org",
        "https://example.org?x=1",
        "http://[",
        "x",
        "https://a..b",
        "https://-a.org",
        "https://%41.org",
        "https://" + "a" * 64,
        "https://" + "a." * 150,
        "https://x:0",
        "https://x:65536",
        "https://[::g]",
        "https://a.org#x",
        "https://a.org?",
        "https://a b",
        "https://a.org/\u2028x",
    ],
)
def test_malformed_addresses(url: str) -> None:
    """An address that is not a plain http or https URL is refused."""
    assert "Write it like" in refusal(address, None, url)


def test_addresses_are_normalised() -> None:
    """An address becomes the form that is sent."""
    written = {
        "https://Example.ORG:8443/npq/": "https://example.org:8443/npq",
        "https://bücher.example/ü/%2F": "https://xn--bcher-kva.example/%C3%BC/%2F",
        "https://[2001:DB8::1]:1/": "https://[2001:db8::1]:1",
    }
    assert {url: address(None, url) for url in written} == written


def test_plain_http() -> None:
    """Plain http beyond this machine requires allow_plain_http."""
    assert "in clear" in refusal(address, None, "http://example.org")
    assert "in clear" in refusal(address, None, "http://127.0.0.1.example.org")
    assert address(None, "http://example.org", allow_plain_http=True) == "http://example.org"
    for url in ("http://127.0.0.9:1", "http://localhost:1/", "http://[::1]:1"):
        assert address(None, url) == url.rstrip("/")


def test_texts() -> None:
    """One text or several, each kept once."""
    assert texts_of("a") == ("a",)
    assert texts_of(["b", "a", "b"]) == ("b", "a")
    assert texts_of(()) == ()


def test_formats_and_compression() -> None:
    """Each format has a default compression; what does not go together is refused."""
    assert formats_of(["parquet", "ndjson"], None, flatten=False) == {"parquet": "zstd", "ndjson": "none"}
    assert formats_of(["ndjson", "ndjson"], "gzip", flatten=True) == {"ndjson": "gzip"}
    assert formats_of(["csv", "ndjson"], "zstd", csv_bom=True, csv_safe=True) == {"csv": "zstd", "ndjson": "zstd"}
    assert "no format" in refusal(formats_of, "xml", None, flatten=False)
    assert "no format to write" in refusal(formats_of, (), None, flatten=False)
    assert "cannot be compressed" in refusal(formats_of, ["parquet", "ndjson"], "snappy", flatten=False)
    assert "cannot be compressed" in refusal(formats_of, "csv", "snappy")
    assert "NDJSON" in refusal(formats_of, ["parquet", "csv"], None, flatten=True)
    assert refusal(formats_of, "ndjson", None, csv_bom=True).startswith("--csv-bom is for CSV.")
    assert refusal(formats_of, "parquet", None, csv_safe=True).startswith("--csv-safe is for CSV.")


def test_redaction_of_unknown_fields(tmp_path: Path) -> None:
    """A field that no endpoint has is refused, since a typo would leave the data unredacted."""
    endpoints = tuple(NPQ)
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    made = redaction_of(("full_name",), ("email",), key, endpoints)
    assert set(made.paths) == {"full_name", "email"}
    assert "emial" in refusal(redaction_of, ("emial",), (), None, endpoints)


def test_output_is_named_after_service_and_time() -> None:
    made = output_of(None, NPQ)
    assert made.parent == Path("output")
    assert re.fullmatch(r"npq-v3-20\d{6}T\d{6}Z", made.name)
    assert output_of("there", NPQ) == Path("there")


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_blank_directories(name: str) -> None:
    """A blank name, or one with a NUL, is not a directory."""
    assert "not a directory" in refusal(output_of, name, NPQ)
    assert "--work-dir" in refusal(directory_of, name, "--work-dir")


@pytest.mark.parametrize("number", ["0", "-1", "257", "abc", "", "3.5", 0, -1, 257, 3.0, float("inf"), None])
def test_counts_out_of_range(number: Any) -> None:
    """A count outside of its bounds, or not a whole number, is refused."""
    assert "--workers cannot be" in refusal(count_of, number, "--workers", largest=256)


def test_counts() -> None:
    """Both bounds of a count are accepted, as text or number."""
    assert [count_of(number, "--workers", largest=256) for number in ("1", 256)] == [1, 256]
    assert count_of("0", "--retries", smallest=0, largest=9) == 0


@pytest.mark.parametrize("size", ["0", "-1", "3001", "abc", "", "3.5", 0, -1, 3001])
def test_page_size_out_of_range(size: str | int) -> None:
    """A page size outside of the service's range is refused."""
    assert "from 1 to 3000" in refusal(page_size_of, size, 3000)


def test_default_page_size() -> None:
    """The default page size is 300, or the largest page if that is smaller."""
    assert [page_size_of(None, largest) for largest in (3000, 100)] == [300, 100]


@pytest.mark.parametrize("limit", ["1000", "1000/", "/5m", "0/5m", "10/0", "-1/5m", "ten/5m", "10/5 minutes", "1e3/5m"])
def test_malformed_limits(limit: str) -> None:
    """A limit that is not `N/PERIOD` is refused with that form."""
    assert "N/PERIOD" in refusal(limit_of, limit, None)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ("40/10s", Limit(40, 10)),
        ("5/500ms", Limit(5, 0.5)),
        ("7/300", Limit(7, 300)),
        (Limit(5, 0.5), Limit(5, 0.5)),
        (None, Limit(9, 9)),
    ],
)
def test_limits(given: str | Limit | None, limit: Limit) -> None:
    """A limit is a text or a Limit; without one, that of the service holds."""
    assert limit_of(given, Limit(9, 9)) == limit


def test_service_without_limit() -> None:
    """A service without a limit is not limited."""
    assert limit_of(None, None) is NO_LIMIT


@pytest.mark.parametrize(
    "limit", [Limit(0, 1.0), Limit(-1, 1.0), Limit(1, 0.0), Limit(1, float("inf")), Limit(1, float("nan"))]
)
def test_limits_that_allow_nothing(limit: Limit) -> None:
    """A limit from Python must allow a request too."""
    assert "no request at all" in refusal(limit_of, limit, None)


def test_share() -> None:
    """It is a percentage as text, or a fraction."""
    assert share_of("50%") == share_of(0.5) == 0.5
    for share in ("0%", "101%", "half", "-5%"):
        assert "percentage" in refusal(share_of, share)


def test_source_addresses() -> None:
    """Source addresses are IP addresses to send from, each given once."""
    assert sources_of(["127.0.0.1", " ::1 "]) == ("127.0.0.1", "::1")
    assert sources_of("127.0.0.2") == ("127.0.0.2",)
    assert sources_of(()) == (None,)
    for given in ("0.0.0.0", "224.0.0.1", "eth0"):
        assert "not an IP address to send from" in refusal(sources_of, [given])
    for twice in (["::1", "0:0:0:0:0:0:0:1"], ["127.0.0.1", "127.0.0.1"]):
        assert "twice" in refusal(sources_of, twice)


def test_budget() -> None:
    """By default a file of the user, or the memory for the bundled service; no message shows a password."""
    assert budget_of(None, None) == "sqlite://"
    assert budget_of(None, "local") == "memory://"
    assert budget_of(" redis://localhost:6379/0 ", "local") == "redis://localhost:6379/0"
    assert "does not name a store" in refusal(budget_of, "file.db", None)
    assert "canary" not in refusal(budget_of, "rediss:canary@host", None)


@pytest.mark.parametrize("time", ["yesterday-ish", "", "2025-13-01", "12:00"])
def test_malformed_instants(time: str) -> None:
    """A time that is not ISO 8601 is refused."""
    assert "ISO 8601" in refusal(instant_of, time)


def test_instants() -> None:
    """A time with any offset, a datetime or a date becomes a time in UTC."""
    moment = datetime(2025, 9, 1, tzinfo=UTC)
    for given in ("2025-09-01T01:00:00+01:00", "2025-09-01", moment, date(2025, 9, 1)):
        assert instant_of(given) == moment
    assert instant_of(None) is None


def test_durations() -> None:
    """A duration is a text, seconds, or a timedelta."""
    for given in ("12h", 43_200, timedelta(hours=12)):
        assert duration_of(given, "--every") == timedelta(hours=12)
    assert "--every is far too long" in refusal(duration_of, 1e300, "--every")
