"""The file of tenants: what it may hold, and what is refused with the name of the tenant."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.tenants_file import Tenant, read_tenants


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tenants.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_tenants_are_read_in_order(tmp_path: Path) -> None:
    """Token files are looked for beside the file; keys may be written with - or _."""
    path = written(
        tmp_path,
        """
        [[tenant]]
        name = "second.one"
        token-file = "second.token"
        base-url = "https://a.example"
        schema = "s"

        [[tenant]]
        name = "First_1"
        token_file = "/secrets/first"
        environment = "sandbox"
        table-prefix = "f_"
        """,
    )
    assert read_tenants(path) == (
        Tenant("second.one", tmp_path / "second.token", base_url="https://a.example", schema="s"),
        Tenant("First_1", Path("/secrets/first"), environment="sandbox", table_prefix="f_"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no tenants"),
        ("tenant = []", "names no tenants"),
        ("[tenant]\nname = 'a'", "names no tenants"),
        ("[[tenants]]\nname = 'a'", "unknown key 'tenants'"),
        ("[[tenant]]\ntoken-file = 'a'", "gives tenant 1 no name"),
        ("[[tenant]]\nname = 5", "gives tenant 1 no name"),
        ("[[tenant]]\nname = 'a'\ntoken-fil = 'a'", "unknown key 'token-fil' for the tenant a"),
        ("[[tenant]]\nname = 'a'\ntoken-file = 3", "no text for token-file of the tenant a"),
        ("[[tenant]]\nname = 'a'\ntoken-file = 'x'\ntoken_file = 'y'", "token-file of the tenant a twice"),
        ("[[tenant]]\nname = 'a'\nbase-url = 'x'\nenvironment = 'y'", "both a base-url and an environment"),
        ("[[tenant]]\nname = 'a'\n[[tenant]]\nname = 'a'", "names the tenant a twice"),
        ("[[tenant]]\nname = 'a'\n[[tenant]]\nname = 'A'", "may be one directory"),
        ("[[tenant]\n", "is not TOML"),
        ("# " + "x" * (1 << 20), "is larger than"),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The error says what is wrong, and for whom."""
    with pytest.raises(UsageError, match="The file of tenants") as refused:
        read_tenants(written(tmp_path, text))
    assert said in refused.value.what
    assert refused.value.next_step


@pytest.mark.parametrize(
    "name", ["..", ".a", "a/b", "a\\\\b", "/a", "a b", "-a", "a.", "é", "a" * 65, "manifest.json", "a\\n"]
)
def test_name_that_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    """A name leads to no other directory, hides nothing, and is no option."""
    with pytest.raises(UsageError, match="gives tenant 1 a name that cannot be used"):
        read_tenants(written(tmp_path, f'[[tenant]]\nname = "{name}"'))


def test_token_in_the_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    """The file holds no token, and the message does not repeat one."""
    with pytest.raises(UsageError, match="holds the token of the tenant a") as refused:
        read_tenants(written(tmp_path, "[[tenant]]\nname = 'a'\ntoken = 'canary-token-7f3a'"))
    assert "canary" not in " ".join(refused.value.lines())


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(UsageError, match=r"nothing\.toml cannot be read"):
        read_tenants(tmp_path / "nothing.toml")


def test_file_that_others_may_change_is_warned_of(tmp_path: Path) -> None:
    """Whoever may change the addresses can have tokens sent elsewhere; reading it reveals nothing."""
    path = written(tmp_path, "[[tenant]]\nname = 'a'")
    path.chmod(0o644)
    read_tenants(path)
    path.chmod(0o664)
    with pytest.warns(UserWarning, match="can be changed by other users"):
        read_tenants(path)
