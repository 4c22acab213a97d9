"""A settings file that was found, not named, decides where the token goes only if its owner has confirmed it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.declarations import Trust
from bulk_export.pipelines.settings.commands import settings_that_need
from bulk_export.pipelines.settings.sources import SettingsFile, read_file
from bulk_export.pipelines.settings.trust import decisive_settings, refuse_untrusted, trust, trusted_digests

TEXT = 'page-size = 7\nbase-url = "https://a.org"\n[export]\ntoken-file = "t"\n'


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    return written(tmp_path, TEXT)


def written(tmp_path: Path, text: str) -> SettingsFile:
    path = tmp_path / "bulk-export.toml"
    path.write_text(text)
    path.chmod(0o644)
    return read_file(path)


def known(directory: Path) -> Callable[[], frozenset[str]]:
    return lambda: trusted_digests(directory)


def test_decisive_settings() -> None:
    """They are found in every table."""
    document = {"page_size": 1, "base-url": "u", "sync": {"token_file": "t"}, "profile": {"a": {"service": "s"}}}
    assert decisive_settings(document) == {
        "base_url": "u",
        "sync.token_file": "t",
        "profile": {"a": {"service": "s"}},
    }


def test_decisive_settings_need_confirmation(file: SettingsFile, tmp_path: Path) -> None:
    """They are refused until `bulk-export trust` has confirmed them."""
    with pytest.raises(UsageError, match=r"base-url, token-file.*not confirmed") as refused:
        refuse_untrusted(file, ["base_url", "page_size", "token_file"], known(tmp_path))
    assert "bulk-export trust" in refused.value.next_step
    trust(file, tmp_path)
    refuse_untrusted(file, ["base_url", "page_size", "token_file"], known(tmp_path))


def test_other_settings_need_no_confirmation(file: SettingsFile, tmp_path: Path) -> None:
    """They are taken even from a file of another user."""
    refuse_untrusted(replace(file, status=other_user(file)), ["page_size", "share"], known(tmp_path))


def test_settings_that_need_the_owner(file: SettingsFile, tmp_path: Path) -> None:
    """Another user may not decide where records are stored or what is replaced."""
    for name in ("output", "overwrite", "work_dir", "accept_removals"):
        refuse_untrusted(file, [name], known(tmp_path))
        with pytest.raises(UsageError, match=f"sets {name.replace('_', '-')}, and belongs to another user"):
            refuse_untrusted(replace(file, status=other_user(file)), [name], known(tmp_path))


def test_confirmation_is_of_path_and_values(file: SettingsFile, tmp_path: Path) -> None:
    """Other decisive values, or the same in another directory, need to be confirmed again."""
    trust(file, tmp_path)
    for other in (
        written(tmp_path, TEXT.replace("a.org", "b.org")),
        replace(file, path=tmp_path / "elsewhere" / file.path.name),
    ):
        with pytest.raises(UsageError, match="not confirmed"):
            refuse_untrusted(other, ["base_url"], known(tmp_path))
    refuse_untrusted(written(tmp_path, TEXT.replace("7", "8")), ["base_url"], known(tmp_path))


def other_user(file: SettingsFile) -> os.stat_result:
    values = list(file.status)
    values[4] += 1
    return os.stat_result(values)


def open_to_others(file: SettingsFile) -> os.stat_result:
    values = list(file.status)
    values[0] |= 0o002
    return os.stat_result(values)


@pytest.mark.parametrize(("status", "advice"), [(other_user, "another user"), (open_to_others, "can write to it")])
def test_foreign_file_is_refused_though_confirmed(
    file: SettingsFile, tmp_path: Path, status: Callable[[SettingsFile], os.stat_result], advice: str
) -> None:
    """A file that belongs to others, or that they can write to, is refused even if it was confirmed."""
    trust(file, tmp_path)
    with pytest.raises(UsageError, match=advice):
        refuse_untrusted(replace(file, status=status(file)), ["base_url"], known(tmp_path))


@pytest.mark.parametrize("content", ["", "[", "{}", "[1, null]", "[" * 100_000])
def test_damaged_list_trusts_nothing(file: SettingsFile, tmp_path: Path, content: str) -> None:
    (tmp_path / "trusted-settings.json").write_text(content)
    assert trusted_digests(tmp_path) == frozenset()
    trust(file, tmp_path)
    assert len(trusted_digests(tmp_path)) == 1


def test_unsafe_list_trusts_nothing(file: SettingsFile, tmp_path: Path) -> None:
    """A list that others can write to, or that is a link, trusts nothing."""
    trust(file, tmp_path)
    store = tmp_path / "trusted-settings.json"
    assert json.loads(store.read_text())
    store.chmod(0o622)
    assert trusted_digests(tmp_path) == frozenset()
    store.chmod(0o600)
    store.rename(tmp_path / "real.json")
    store.symlink_to(tmp_path / "real.json")
    assert trusted_digests(tmp_path) == frozenset()


def test_the_guarded_options() -> None:
    """An option that decides where requests or records go must be declared so; a change here is a decision."""
    assert settings_that_need(Trust.CONFIRMED) == {
        "allow_plain_http",
        "base_url",
        "budget",
        "ca_file",
        "environment",
        "lineage",
        "load",
        "moved_to",
        "password_file",
        "publish",
        "service",
        "store_option",
        "tenants",
        "to",
        "token_file",
    }
    assert settings_that_need(Trust.OWNER) == {
        "accept_removals",
        "accept_token",
        "adopt",
        "gone",
        "max_removed",
        "metrics",
        "mode",
        "output",
        "overwrite",
        "pseudonym_key_file",
        "removed",
        "vacuum",
        "work_dir",
    }


def test_user_without_home_trusts_nothing() -> None:
    assert trusted_digests(None) == frozenset()
