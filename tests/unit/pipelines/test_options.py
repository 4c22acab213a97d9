"""Options: what is accepted, what it becomes, and what is refused with advice."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import ReadableByOthers, Token
from bulk_export.core.model import Limit
from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit.location import parse_location
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.results import export_identity

URL = "https://example.org"


def options(*endpoints: str, **given: Any) -> ExportOptions:
    return ExportOptions.of(endpoints, **{"base_url": URL, "token": "secret-canary"} | given)


def refusal(*endpoints: str, **given: Any) -> str:
    with pytest.raises(UsageError) as refused:
        options(*endpoints, **given)
    assert refused.value.next_step or refused.value.kept
    return " ".join(refused.value.lines())


def test_defaults() -> None:
    """The defaults are those that are documented."""
    made = options()
    assert (made.service.name, made.service.version, len(made.endpoints)) == ("npq", "v3", 6)
    assert (made.page_size, made.service_limit, made.ip_limit) == (300, Limit(1000, 300), Limit(300, 300))
    assert (made.min_interval, made.share, made.sources, dict(made.formats)) == (0.1, 1.0, (None,), {"parquet": "zstd"})
    assert made.output.parent == Path("output")
    assert made.output.name.startswith("npq-v3-20")


def test_options_reach_their_fields() -> None:
    given = {"service_limit": "40/10s", "ip_limit": "7/300", "share": "50%", "page_size": "20", "workers": 3}
    made = options(**given, source_address="127.0.0.2", format="ndjson", compression="gzip", flatten=True)
    assert (made.service_limit, made.ip_limit, made.share) == (Limit(40, 10), Limit(7, 300), 0.5)
    assert (made.page_size, made.workers, made.sources) == (20, 3, ("127.0.0.2",))
    assert (dict(made.formats), made.flatten, made.base_url) == ({"ndjson": "gzip"}, True, URL)
    for name in ("service_limit", "ip_limit"):
        assert "N/PERIOD" in refusal(**{name: "300"})
    assert "no request at all" in refusal(ip_limit=Limit(0, 1.0))
    assert "from 1 to 3000" in refusal(page_size=3001)
    assert "in clear" in refusal(base_url="http://example.org")
    assert options(base_url="http://example.org", allow_plain_http=True).base_url == "http://example.org"
    assert "NDJSON" in refusal(flatten=True)
    assert "not a directory" in refusal(output=" ")


def test_unknown_option() -> None:
    """It is a TypeError with a suggestion, as for any Python function."""
    with pytest.raises(
        TypeError, match=r"export got an unexpected keyword argument 'pagesize'\. Did you mean 'page_size'"
    ):
        options(pagesize=3)


def test_token_does_not_show() -> None:
    """The token is in no text form of the options."""
    assert "canary" not in repr(options())
    assert "canary" not in str(options().token)


def test_unknown_endpoint_gets_a_suggestion() -> None:
    assert "Did you mean npq-applications?" in refusal("npq-aplications")


def test_order_of_endpoints() -> None:
    """Endpoints come in the order in which they are named, each once; the same export may name them in another."""
    made, other = options("statements", "npq-applications", "statements"), options("npq-applications", "statements")
    assert [endpoint.name for endpoint in made.endpoints] == ["statements", "npq-applications"]
    assert export_identity(made) == export_identity(other)


def test_missing_token() -> None:
    """Without a token the error names the variable, which is read if it is set."""
    assert "BULK_EXPORT_TOKEN" in refusal(token=None, environ={})
    assert "BULK_EXPORT_TOKEN" in refusal(token=None, environ={"BULK_EXPORT_TOKEN": " "})
    token = options(token=None, environ={"BULK_EXPORT_TOKEN": "abc"}).token
    assert token is not None
    assert token.reveal() == "abc"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff\xfe", "ü".encode()])
def test_token_file_without_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    assert "token" in refusal(token=None, token_file=path)


def test_missing_token_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(token=None, token_file=tmp_path / "none")


def test_token_file_that_others_can_read(tmp_path: Path) -> None:
    """It is used, with a warning."""
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(0o644)
    with pytest.warns(ReadableByOthers, match="chmod 600"):
        made = options(token=None, token_file=path)
    assert made.token is not None
    assert made.token.reveal() == "abc"
    path.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options(token=None, token_file=path)


@pytest.mark.parametrize("secret", ["", "a b", "a\nb", "ü"])
def test_malformed_tokens(secret: str) -> None:
    """A header could not carry them."""
    with pytest.raises(UsageError):
        Token(secret)


@pytest.mark.parametrize("time", ["yesterday-ish", "", "2025-13-01", "12:00"])
def test_malformed_times(time: str) -> None:
    assert "ISO 8601" in refusal("npq-applications", updated_since=time)


@pytest.mark.parametrize(
    "given",
    [
        "2025-09-01T01:00:00+01:00",
        "2025-09-01T00:00:00Z",
        "2025-09-01",
        datetime(2025, 9, 1, tzinfo=UTC),
        datetime.fromisoformat("2025-09-01T00:00:00"),
        date(2025, 9, 1),
    ],
)
def test_times_are_sent_in_utc(given: str | date) -> None:
    """A time may have any offset, or be a datetime or date."""
    made = options("npq-applications", "participants-npq-outcomes", updated_since=given)
    applications, outcomes = made.endpoints
    assert made.filters_for(applications) == [("updated_since", "2025-09-01T00:00:00Z")]
    assert made.filters_for(outcomes) == [("created_since", "2025-09-01T00:00:00Z")]


def test_endpoint_without_changes() -> None:
    """An endpoint that cannot be asked for changes is exported in full, with a warning."""
    with pytest.warns(UserWarning, match="delivery-partners"):
        made = options(updated_since="2025-09-01")
    assert made.filters_for(made.endpoints[-1]) == []


def test_filters() -> None:
    made = options("npq-applications", filter=["cohort=2021,2022", "updated_since=2025-09-01T01:00:00+01:00"])
    assert made.filters == (("cohort", "2021,2022"), ("updated_since", "2025-09-01T00:00:00Z"))
    assert options("statements", filter={"cohort": "2021"}).filters == (("cohort", "2021"),)
    assert "KEY=VALUE" in refusal(filter=["cohort"])
    assert "Did you mean cohort?" in refusal("statements", filter=["cohrt=1"])
    assert "does not take" in refusal(filter=["cohort=2021"])
    assert "twice" in refusal("statements", filter=["cohort=1", "cohort=2"])
    assert "given twice" in refusal("statements", filter=["updated_since=2025-01-01"], updated_since="2025-01-01")


def test_budget() -> None:
    """By default a file of the user, or the memory for the bundled service; no message shows a password."""
    assert options().budget == "sqlite://"
    assert options(base_url=None, environment="local").budget == "memory://"
    assert options(budget="sqlite://").budget == "sqlite://"
    assert options(budget="redis://localhost:6379/0").budget == "redis://localhost:6379/0"
    assert "does not name a store" in refusal(budget="file.db")
    assert "canary" not in refusal(budget="rediss:canary@host")
    assert "canary" not in repr(options(budget="redis://:canary@localhost/0"))
    assert "canary" not in refusal(base_url="ftp://u:canary@host")


@pytest.mark.parametrize("interval", ["soon", "-1", "2h"])
def test_min_interval(interval: str) -> None:
    """The least time between requests is a duration of up to an hour."""
    refusal(min_interval=interval)
    assert options(min_interval="0").min_interval == 0
    assert options(min_interval="250ms").min_interval == 0.25


def test_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token comes from the variable of the process."""
    monkeypatch.setitem(os.environ, "BULK_EXPORT_TOKEN", "from-environment")
    token = options(token=None).token
    assert token is not None
    assert token.reveal() == "from-environment"


def test_work_dir() -> None:
    """A directory for the working state has a name too."""
    assert options().work_dir is None
    assert options(work_dir="scratch").work_dir == Path("scratch")
    for name in ("", " ", "a\0b"):
        assert "--work-dir" in refusal(work_dir=name)


def test_journal_compression() -> None:
    """Pages that come uncompressed are compressed unless it is said otherwise."""
    assert options().journal_compression == "lz4"
    assert options(journal_compression="none").journal_compression == "none"
    assert "--journal-compression" in refusal(journal_compression="zstd")


def test_filters_must_suit_all_endpoints() -> None:
    """Sent to some endpoints only, a filter would leave an extract of which nobody knows what it holds."""
    assert "does not take the filter 'cohort'" in refusal(filter=["cohort=2021"])
    assert options("npq-applications", "statements", filter=["cohort=2021"]).filters == (("cohort", "2021"),)


TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from(["300", "1000/5m", "50%", "2025-09-01", "cohort=1", URL, "127.0.0.1"])
)
NAMES = [
    "service",
    "api_version",
    "environment",
    "base_url",
    "token",
    "token_file",
    "output",
    "format",
    "compression",
    "page_size",
    "workers",
    "retries",
    "service_limit",
    "ip_limit",
    "min_interval",
    "source_address",
    "budget",
    "share",
    "updated_since",
    "filter",
]


@settings(deadline=None, max_examples=150)
@given(st.lists(TEXTS, max_size=1), st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=3))
def test_any_text_for_any_option(endpoints: list[str], given: dict[str, str]) -> None:
    """It is accepted, or refused with advice."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            made = options(*endpoints, **given)
    except UsageError as refused:
        failure = refused
    else:
        assert made.endpoints
        assert made.page_size in range(1, 3001)
        assert repr(made)
        return
    assert failure.next_step or failure.kept


def test_daily_window() -> None:
    """Times and time zone are given both or not at all."""
    local = {"environment": "local", "output": "out"}
    assert ExportOptions.of(**local).window is None
    window = ExportOptions.of(**local, between="22:00-04:00", timezone="Europe/London").window
    assert str(window) == "22:00-04:00 Europe/London"
    for half in ({"between": "22:00-04:00"}, {"timezone": "Europe/London"}):
        with pytest.raises(UsageError, match="is missing"):
            ExportOptions.of(**local, **half)


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "https://user:12#secret@h"},
        {"base_url": "https://user:se?secret@h/api"},
        {"base_url": "https://user:secret@[bad"},
        {"base_url": "user:secret@h"},
        {"base_url": "https://h/?key=secret"},
        {"environment": "https://user:secret@h"},
        {"environment": "local", "service": "https://user:secret@h"},
        {"environment": "local", "service": "user:secret@h"},
        {"environment": "local", "budget": "redis://user:12#secret@h/0"},
        {"environment": "local", "budget": "redis://user:1/secret@h/0"},
        {"environment": "local", "budget": "secret:sqlite://h"},
    ],
)
def test_no_password_in_a_url_is_shown(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_location(ExportOptions.of(token="t", **{"base_url": None} | given).budget)
    assert "secret" not in " ".join(refused.value.lines())


@pytest.mark.parametrize(("given", "seconds"), [("15m", 900), ("2h", 7_200), ("0", 0), (90, 90), ("7d", 604_800)])
def test_max_wait(given: str | int, seconds: float) -> None:
    """The longest announced wait is a duration, as text or seconds."""
    assert options(max_wait=given).max_wait == seconds


@pytest.mark.parametrize("given", ["-1", "soon", "8d", "nan", "", float("nan"), float("inf"), -1])
def test_malformed_waits(given: str | float) -> None:
    """A wait that is not a duration of up to a week is refused."""
    assert "--max-wait" in refusal(max_wait=given)
