"""Options from three places: line, environment, file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.settings import Takes, read_file, resolve

KNOWN = {
    "page_size": Takes.ONE,
    "filter": Takes.MANY,
    "overwrite": Takes.NOTHING,
    "environment": Takes.ONE,
    "base_url": Takes.ONE,
    "updated_since": Takes.ONE,
}


def test_the_line_wins_then_the_environment_then_the_file() -> None:
    file = {"page_size": "1", "filter": ["a=1"], "overwrite": True}
    environ = {"BULK_EXPORT_PAGE_SIZE": "2", "BULK_EXPORT_OVERWRITE": "false"}
    assert resolve({"page_size": "3"}, KNOWN, environ, file) == {
        "page_size": "3",
        "overwrite": False,
        "filter": ["a=1"],
    }
    assert resolve({"page_size": None, "overwrite": False}, KNOWN, environ, file)["page_size"] == "2"
    assert resolve({}, KNOWN, {}, file)["page_size"] == "1"


def test_the_stronger_of_two_ways_to_name_the_service_counts() -> None:
    environ = {"BULK_EXPORT_ENVIRONMENT": "sandbox"}
    assert resolve({"base_url": "u"}, KNOWN, environ, {}) == {"base_url": "u"}
    assert resolve({}, KNOWN, environ, {"base_url": "u"}) == {"environment": "sandbox"}
    both = resolve({"base_url": "u", "environment": "local"}, KNOWN, {}, {})
    assert both == {"base_url": "u", "environment": "local"}


def test_variables_hold_texts_lists_and_switches() -> None:
    environ = {"BULK_EXPORT_FILTER": "a=1 'b=2 3'", "BULK_EXPORT_OVERWRITE": "Yes"}
    assert resolve({}, KNOWN, environ, {}) == {"filter": ["a=1", "b=2 3"], "overwrite": True}
    with pytest.raises(UsageError, match="true or false"):
        resolve({}, KNOWN, {"BULK_EXPORT_OVERWRITE": "perhaps"}, {})
    with pytest.raises(UsageError, match="quotation"):
        resolve({}, KNOWN, {"BULK_EXPORT_FILTER": "'a"}, {})


def read(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return read_file(path, "export", KNOWN, ["records"])


def test_a_file_has_keys_for_all_commands_and_tables_for_one(tmp_path: Path) -> None:
    text = """
    page-size = 100
    records = "7"
    updated-since = 2025-09-01T00:00:00Z
    [filter]
    cohort = "2021,2022"
    [export]
    overwrite = true
    page_size = 200
    [plan]
    latency = "1s"
    """
    assert read(tmp_path, text) == {
        "page_size": "200",
        "updated_since": "2025-09-01T00:00:00+00:00",
        "filter": ["cohort=2021,2022"],
        "overwrite": True,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("page-sice = 1", "Did you mean page-size?"),
        ("token = 'x'", "token-file"),
        ("overwrite = 'yes'", "true or false"),
        ("page-size = [1]", "a text or a number"),
        ("page-size = true", "a text or a number"),
        ("filter = [1]", "list of texts"),
        ("[export]\nrecords = 1", "unknown key"),
        ("page-size", "not TOML"),
    ],
)
def test_what_a_file_must_not_hold_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)
    assert said in " ".join(refused.value.lines())


def test_without_a_name_the_file_of_the_working_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_file(None, "export", KNOWN, []) == {}
    (tmp_path / "bulk-export.toml").write_text("page-size = 7")
    assert read_file(None, "export", KNOWN, []) == {"page_size": "7"}
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(tmp_path / "none.toml", "export", KNOWN, [])
