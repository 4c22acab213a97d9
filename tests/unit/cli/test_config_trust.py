"""A settings file that was found, not named, decides where the token goes only where its owner has said so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bulk_export.cli.config import SettingsFile, read_file
from bulk_export.cli.config_trust import decisive_settings, refuse_untrusted, trust, trusted_digests
from bulk_export.errors import UsageError

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


def test_the_decisive_settings_are_found_in_every_table() -> None:
    document = {"page_size": 1, "base-url": "u", "sync": {"token_file": "t"}, "profile": {"a": {"service": "s"}}}
    assert decisive_settings(document) == {
        "base_url": "u",
        "sync.token_file": "t",
        "profile": {"a": {"service": "s"}},
    }


def test_what_decides_is_refused_until_it_is_confirmed_and_then_taken(file: SettingsFile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"base-url, token-file.*not confirmed") as refused:
        refuse_untrusted(file, ["base_url", "page_size", "token_file"], known(tmp_path))
    assert "bulk-export trust" in refused.value.next_step
    trust(file, tmp_path)
    refuse_untrusted(file, ["base_url", "page_size", "token_file"], known(tmp_path))


def test_what_decides_nothing_needs_no_confirmation(file: SettingsFile, tmp_path: Path) -> None:
    refuse_untrusted(replace(file, opened=other_user(file)), ["page_size", "share"], known(tmp_path))


def test_another_user_may_not_decide_where_records_lie_or_what_is_replaced(file: SettingsFile, tmp_path: Path) -> None:
    for name in ("output", "overwrite", "work_dir", "accept_removals"):
        refuse_untrusted(file, [name], known(tmp_path))
        with pytest.raises(UsageError, match=f"sets {name.replace('_', '-')}, and belongs to another user"):
            refuse_untrusted(replace(file, opened=other_user(file)), [name], known(tmp_path))


def test_only_the_values_and_the_place_that_were_confirmed_are_trusted(file: SettingsFile, tmp_path: Path) -> None:
    trust(file, tmp_path)
    for other in (
        written(tmp_path, TEXT.replace("a.org", "b.org")),
        replace(file, path=tmp_path / "elsewhere" / file.path.name),
    ):
        with pytest.raises(UsageError, match="not confirmed"):
            refuse_untrusted(other, ["base_url"], known(tmp_path))
    refuse_untrusted(written(tmp_path, TEXT.replace("7", "8")), ["base_url"], known(tmp_path))


def other_user(file: SettingsFile) -> os.stat_result:
    values = list(file.opened)
    values[4] += 1
    return os.stat_result(values)


def open_to_others(file: SettingsFile) -> os.stat_result:
    values = list(file.opened)
    values[0] |= 0o002
    return os.stat_result(values)


@pytest.mark.parametrize(("opened", "said"), [(other_user, "another user"), (open_to_others, "can write to it")])
def test_a_file_of_others_is_refused_even_when_it_was_confirmed(
    file: SettingsFile, tmp_path: Path, opened: Callable[[SettingsFile], os.stat_result], said: str
) -> None:
    trust(file, tmp_path)
    with pytest.raises(UsageError, match=said):
        refuse_untrusted(replace(file, opened=opened(file)), ["base_url"], known(tmp_path))


@pytest.mark.parametrize("content", ["", "[", "{}", "[1, null]", "[" * 100_000])
def test_a_list_that_is_damaged_trusts_nothing(file: SettingsFile, tmp_path: Path, content: str) -> None:
    (tmp_path / "trusted-settings.json").write_text(content)
    assert trusted_digests(tmp_path) == frozenset()
    trust(file, tmp_path)
    assert len(trusted_digests(tmp_path)) == 1


def test_a_list_that_others_can_write_or_that_is_a_link_trusts_nothing(file: SettingsFile, tmp_path: Path) -> None:
    trust(file, tmp_path)
    store = tmp_path / "trusted-settings.json"
    assert json.loads(store.read_text())
    store.chmod(0o622)
    assert trusted_digests(tmp_path) == frozenset()
    store.chmod(0o600)
    store.rename(tmp_path / "real.json")
    store.symlink_to(tmp_path / "real.json")
    assert trusted_digests(tmp_path) == frozenset()


def test_a_user_without_a_home_trusts_nothing() -> None:
    assert trusted_digests(None) == frozenset()
