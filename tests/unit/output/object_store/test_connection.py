"""Settings and credentials of stores, from an environment of the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.output.object_store import aws_profile
from bulk_export.output.object_store.aws_profile import read_profile
from bulk_export.output.object_store.connection import open_store, require_obstore
from bulk_export.output.object_store.url import parse_store_url

pytest.importorskip("obstore")

SECRET = "canary-secret"
S3 = parse_store_url("s3://bucket/x")
AZURE = parse_store_url("az://container/x")


@pytest.fixture
def no_profiles(tmp_path: Path) -> dict[str, str]:
    """Variables that name files which do not exist."""
    return {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"), "AWS_CONFIG_FILE": str(tmp_path / "config")}


def written(environ: dict[str, str], *, keys: str = "", config: str = "") -> dict[str, str]:
    """Write the files of profiles that the variables name."""
    Path(environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(keys)
    Path(environ["AWS_CONFIG_FILE"]).write_text(config)
    return environ


def test_profile_with_keys(no_profiles: dict[str, str]) -> None:
    """Keys and region come from the files, and the repr shows no key."""
    environ = written(
        no_profiles,
        keys=f"[lake]\naws_access_key_id = A\naws_secret_access_key={SECRET}\naws_session_token=T\n",
        config="[profile lake]\nregion = eu-west-2\n[default]\nregion = us-west-1\n",
    )
    profile = read_profile({**environ, "AWS_PROFILE": "lake"})
    assert profile.config == {
        "region": "eu-west-2",
        "access_key_id": "A",
        "secret_access_key": SECRET,
        "session_token": "T",
    }
    assert SECRET not in repr(profile)
    assert read_profile(environ).config == {"region": "us-west-1"}


def test_environment_wins(no_profiles: dict[str, str]) -> None:
    """Keys and a region of the environment are not replaced by those of a profile."""
    environ = written(no_profiles, keys="[default]\naws_access_key_id=A\naws_secret_access_key=B\nregion=r\n")
    assert read_profile({**environ, "AWS_ACCESS_KEY_ID": "C", "AWS_REGION": "s"}).config == {}
    assert read_profile(no_profiles).config["access_key_id"] == "A"


def test_profiles_that_sign_in(no_profiles: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile with a role is left to boto3; without it, the message says what else can be done."""
    environ = written(no_profiles, config="[profile role]\nrole_arn = arn\nsource_profile = default\n")
    environ = {**environ, "AWS_PROFILE": "role"}
    monkeypatch.setattr(aws_profile.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs boto3"):
        read_profile(environ)
    monkeypatch.setattr(aws_profile.importlib.util, "find_spec", lambda _: object())
    assert read_profile(environ).needs_boto3 == "role"


def test_missing_and_broken_profiles(no_profiles: dict[str, str]) -> None:
    """A profile that is named must be there, and files must be readable."""
    assert read_profile(no_profiles).config == {}
    with pytest.raises(UsageError, match="no AWS profile 'lake'"):
        read_profile({**no_profiles, "AWS_PROFILE": "lake"})
    with pytest.raises(UsageError, match="cannot be read"):
        read_profile(written(no_profiles, keys="no section\n"))


@pytest.mark.parametrize(
    ("url", "variable", "allowed"),
    [(S3, "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"), (AZURE, "AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP")],
)
def test_plain_http(no_profiles: dict[str, str], url: object, variable: str, allowed: str) -> None:
    """An endpoint without TLS is on this machine, or was allowed by the variable of its store."""
    environ = {**no_profiles, "AZURE_STORAGE_ACCOUNT_NAME": "account"}
    for endpoint in ("http://127.0.0.1:9/x", "http://localhost:9", "https://store.example.com"):
        open_store(url, environ={**environ, variable: endpoint})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="plain http"):
        open_store(url, environ={**environ, variable: "http://store.example.com"})  # type: ignore[arg-type]
    open_store(url, environ={**environ, variable: "http://store.example.com", allowed: "true"})  # type: ignore[arg-type]


def test_azure_accounts(no_profiles: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The account comes from the address, a variable or a connection string; without one, the message says how."""
    for variable in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match="does not say which account"):
        open_store(AZURE, environ={})
    open_store(AZURE, environ={"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=QUJD;EndpointSuffix=x"})
    open_store(parse_store_url("abfss://box@acc.dfs.core.windows.net/x"), environ={})
    open_store(parse_store_url("abfss://work@onelake.dfs.fabric.microsoft.com/a.Lakehouse/Files"), environ={})


def test_settings_that_cannot_be_used_are_not_shown(no_profiles: dict[str, str]) -> None:
    """What the library says of a key is not repeated."""
    with pytest.raises(UsageError, match="cannot be used") as raised:
        open_store(AZURE, environ={"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=a;AccountKey={SECRET}-"})
    assert SECRET not in str(raised.value.lines())


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message names it."""
    monkeypatch.setattr("bulk_export.output.object_store.connection.importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="extra cloud"):
        require_obstore()
