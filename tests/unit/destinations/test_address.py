"""The value of `--to`: a URL without a password, or a variable that holds one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.destinations.address import parse_address
from bulk_export.errors import UsageError


def test_url() -> None:
    """A URL has its usual parts; the schema may be a parameter."""
    address = parse_address("postgres://ann@db.example:5433/wh?sslmode=require&schema=dfe", {})
    assert (address.scheme, address.user, address.host, address.port) == ("postgresql", "ann", "db.example", 5433)
    assert (address.path, address.parameters, address.schema) == ("wh", {"sslmode": "require"}, "dfe")


def test_option_wins_over_parameter() -> None:
    """`--schema` wins over the parameter."""
    assert parse_address("postgresql://h/db?schema=a", {}, schema="b").schema == "b"


@pytest.mark.parametrize("url", ["postgresql://ann:hunter2@h/db", "mssql://h/db?password=hunter2"])
def test_password_on_the_command_line(url: str) -> None:
    """Other users can see a command line, so a password there is refused, and not repeated."""
    with pytest.raises(UsageError) as raised:
        parse_address(url, {})
    assert "hunter2" not in "".join(raised.value.lines())


def test_files_of_libpq() -> None:
    """Parameters that name a file with a secret are no secret."""
    parameters = {"passfile": "/home/ann/.pgpass", "sslkey": "/home/ann/key.pem"}
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    assert parse_address(f"postgresql://h/db?{query}", {}).parameters == parameters


def test_variable() -> None:
    """A variable may hold the password; what is printed does not have it."""
    address = parse_address("env:WAREHOUSE", {"WAREHOUSE": "postgresql://ann:hunter%402@h/db"})
    assert address.password == "hunter@2"
    assert "hunter" not in f"{address} {address!r}"


def test_password_file_wins() -> None:
    """The password of a file takes the place of another one."""
    assert parse_address("env:W", {"W": "postgresql://a:b@h/db"}, password="c").password == "c"


@pytest.mark.parametrize("text", ["", "somewhere", "env:NOT_SET", "postgresql:/db", "postgresql://h:x/db", "a://b/#c"])
def test_no_url(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError):
        parse_address(text, {})


@pytest.mark.parametrize(
    ("url", "path"), [("duckdb:///data/x", "/data/x"), ("duckdb:////data/x", "/data/x"), ("sqlite:///~/x", "~/x")]
)
def test_file(url: str, path: str) -> None:
    """The path of a file is absolute, or below the home directory."""
    assert parse_address(url, {}).file() == Path(path).expanduser()


@pytest.mark.parametrize("url", ["duckdb://data/x", "duckdb:///", "duckdb://"])
def test_no_file(url: str) -> None:
    """A host is no directory."""
    with pytest.raises(UsageError, match="names no file"):
        parse_address(url, {}).file()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("npq.sqlite", "sqlite:///data/npq.sqlite."),
        ("out/npq.duckdb", "duckdb:///data/out/npq.duckdb."),
        ("sqlite:npq.db", "sqlite:///data/npq.db."),
        ("warehouse", "postgresql://"),
        ("oracle:x", "postgresql://"),
    ],
)
def test_a_file_is_no_url(text: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a file of a database is told the URL of that file."""
    monkeypatch.setattr(Path, "absolute", lambda path: Path("/data") / path)
    with pytest.raises(UsageError, match="no URL of a database") as refused:
        parse_address(text, {})
    assert advice in str(refused.value)
