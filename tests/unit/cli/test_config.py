"""Options from three places: line, environment, file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.cli.config import Arity, find_file, options_for, read_file, resolve, unknown_variables
from bulk_export.errors import UsageError

KNOWN = {
    "page_size": Arity.ONE,
    "filter": Arity.MANY,
    "overwrite": Arity.NOTHING,
    "environment": Arity.ONE,
    "base_url": Arity.ONE,
    "updated_since": Arity.ONE,
}
COMMANDS = ("export", "plan")


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
    return options_for("export", read_file(path), KNOWN, [*KNOWN, "records", "latency"], COMMANDS)


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
        ("[export]\ntoken = 'x'", "token-file"),
        ("[exprot]\npage-size = 1", "Did you mean export?"),
        ("export = 1", "unknown key"),
        ("page-size", "not TOML"),
        ("page-size = " + "[" * 10_000, "not TOML"),
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
    assert find_file() is None
    (tmp_path / "bulk-export.toml").write_text("page-size = 7")
    found = find_file()
    assert found is not None
    assert options_for("export", found, KNOWN, [], COMMANDS) == {"page_size": "7"}
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"page-size = '\xff'")
    with pytest.raises(UsageError, match="not TOML"):
        read_file(tmp_path / "settings.toml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_is_read_whichever_editor_or_shell_wrote_it(tmp_path: Path, encoding: str, line_end: str) -> None:
    text = f"page-size = 7   {line_end}[filter]{line_end}cohort = '2021'{line_end}"
    (tmp_path / "settings.toml").write_bytes(text.encode(encoding))
    options = options_for("export", read_file(tmp_path / "settings.toml"), KNOWN, [], COMMANDS)
    assert options == {"page_size": "7", "filter": ["cohort=2021"]}


def test_a_file_of_any_size_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "settings.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="larger than"):
        read_file(tmp_path / "settings.toml")


def test_the_table_of_a_command_is_stronger_than_what_stands_above_it(tmp_path: Path) -> None:
    assert read(tmp_path, 'environment = "sandbox"\n[export]\nbase-url = "https://a.org"') == {
        "base_url": "https://a.org"
    }
    assert read(tmp_path, 'environment = "sandbox"\nbase-url = "https://a.org"').keys() == {"environment", "base_url"}
    assert read(tmp_path, 'environment = "sandbox"\n[plan]\nbase-url = "https://a.org"').keys() == {"environment"}


def test_a_variable_that_is_set_to_nothing_says_nothing_but_no_to_a_switch() -> None:
    environ = {"BULK_EXPORT_PAGE_SIZE": "", "BULK_EXPORT_FILTER": " ", "BULK_EXPORT_OVERWRITE": ""}
    assert resolve({}, KNOWN, environ, {"page_size": "7", "overwrite": True}) == {"page_size": "7", "overwrite": False}


def test_variables_that_look_like_options_and_are_none_are_named() -> None:
    environ = {"BULK_EXPORT_TOKEN": "x", "BULK_EXPORT_CONFIG": "x", "BULK_EXPORT_PAGE_SIZE": "1", "PAGE_SIZE": "1"}
    assert unknown_variables(environ, KNOWN) == []
    (remark,) = unknown_variables(environ | {"BULK_EXPORT_PAGESIZE": "canary"}, KNOWN)
    assert "BULK_EXPORT_PAGESIZE" in remark
    assert "did you mean BULK_EXPORT_PAGE_SIZE?" in remark
    assert "canary" not in remark


PLACES = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from("abc") for name in ("page_size", "environment", "base_url", "updated_since")}
)


@settings(deadline=None)
@given(PLACES, PLACES, PLACES)
def test_whatever_is_given_where_the_strongest_word_counts(
    line: dict[str, str], variables: dict[str, str], file: dict[str, str]
) -> None:
    environ = {f"BULK_EXPORT_{name.upper()}": value for name, value in variables.items()}
    resolved = resolve(line, KNOWN, environ, file)
    for name in ("page_size", "updated_since"):
        assert resolved.get(name) == line.get(name, variables.get(name, file.get(name)))
    rivals = {"environment", "base_url"}
    strongest = next((place for place in (line, variables, file) if rivals & place.keys()), {})
    assert {name: resolved[name] for name in rivals & resolved.keys()} == {
        name: strongest[name] for name in rivals & strongest.keys()
    }
