"""Options from three sources: command line, environment, file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import UsageError
from bulk_export.pipelines.declarations import Arity
from bulk_export.pipelines.settings.sources import find_file, options_for, read_file, resolve, unknown_variables

KNOWN = {
    "page_size": Arity.SINGLE,
    "filter": Arity.MULTIPLE,
    "overwrite": Arity.FLAG,
    "environment": Arity.SINGLE,
    "base_url": Arity.SINGLE,
    "updated_since": Arity.SINGLE,
}


def test_the_order_of_sources() -> None:
    """The command line wins, then the environment, then the file."""
    file = {"page_size": "1", "filter": ["a=1"], "overwrite": True}
    environ = {"BULK_EXPORT_PAGE_SIZE": "2", "BULK_EXPORT_OVERWRITE": "false"}
    assert resolve({"page_size": "3"}, KNOWN, environ, file) == {
        "page_size": "3",
        "overwrite": False,
        "filter": ["a=1"],
    }
    assert resolve({"page_size": None, "overwrite": False}, KNOWN, environ, file)["page_size"] == "2"
    assert resolve({}, KNOWN, {}, file)["page_size"] == "1"


def test_environment_and_base_url_exclude_each_other() -> None:
    """The one from the stronger source displaces the other; both from one source are left to be refused."""
    environ = {"BULK_EXPORT_ENVIRONMENT": "sandbox"}
    assert resolve({"base_url": "u"}, KNOWN, environ, {}) == {"base_url": "u"}
    assert resolve({}, KNOWN, environ, {"base_url": "u"}) == {"environment": "sandbox"}
    both = resolve({"base_url": "u", "environment": "local"}, KNOWN, {}, {})
    assert both == {"base_url": "u", "environment": "local"}


def test_variables() -> None:
    """Variables hold texts, lists quoted as in a shell, and switches."""
    environ = {"BULK_EXPORT_FILTER": "a=1 'b=2 3'", "BULK_EXPORT_OVERWRITE": "Yes"}
    assert resolve({}, KNOWN, environ, {}) == {"filter": ["a=1", "b=2 3"], "overwrite": True}
    with pytest.raises(UsageError, match="true or false"):
        resolve({}, KNOWN, {"BULK_EXPORT_OVERWRITE": "perhaps"}, {})
    with pytest.raises(UsageError, match="quotation"):
        resolve({}, KNOWN, {"BULK_EXPORT_FILTER": "'a"}, {})


def read(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return options_for("export", read_file(path))


def test_file_keys_and_tables(tmp_path: Path) -> None:
    """Top-level keys are for all commands, a table is for the command it is named after."""
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
    ("text", "advice"),
    [
        ("page-sice = 1", "Did you mean page-size?"),
        ("token = 'x'", "token-file"),
        ("overwrite = 'yes'", "true or false"),
        ("page-size = [1]", "a text or a number"),
        ("page-size = true", "a text or a number"),
        ("filter = [1]", "list of texts"),
        ("[export]\nrecords = 1", "no such option"),
        ("[export]\ntoken = 'x'", "token-file"),
        ("[export]\nevery = '1h'", "no such option"),
        ("[exprot]\npage-size = 1", "Did you mean export?"),
        ("export = 1", "unknown key"),
        ("page-size", "not TOML"),
        ("page-size = " + "[" * 10_000, "not TOML"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, advice: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)
    assert advice in " ".join(refused.value.lines())


def test_file_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config, `bulk-export.toml` in the working directory is read."""
    monkeypatch.chdir(tmp_path)
    assert find_file() is None
    (tmp_path / "bulk-export.toml").write_text("page-size = 7")
    found = find_file()
    assert found is not None
    assert options_for("export", found) == {"page_size": "7"}
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(tmp_path / "none.toml")


def test_the_working_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that was removed while a shell was in it is named as what is wrong."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="current directory does not exist"):
        find_file()


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"page-size = '\xff'")
    with pytest.raises(UsageError, match="not TOML"):
        read_file(tmp_path / "settings.toml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_file_encodings(tmp_path: Path, encoding: str, line_end: str) -> None:
    """A file is read in UTF-8 and UTF-16, with a byte order mark and CRLF."""
    text = f"page-size = 7   {line_end}[filter]{line_end}cohort = '2021'{line_end}"
    (tmp_path / "settings.toml").write_bytes(text.encode(encoding))
    options = options_for("export", read_file(tmp_path / "settings.toml"))
    assert options == {"page_size": "7", "filter": ["cohort=2021"]}


def test_huge_file_is_refused(tmp_path: Path) -> None:
    """A file is refused for its size before all of it is read."""
    with (tmp_path / "settings.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="larger than"):
        read_file(tmp_path / "settings.toml")


def test_table_wins_over_top_level(tmp_path: Path) -> None:
    """A command's table wins over the top-level keys, also between `environment` and `base-url`."""
    assert read(tmp_path, 'environment = "sandbox"\n[export]\nbase-url = "https://a.org"') == {
        "base_url": "https://a.org"
    }
    assert read(tmp_path, 'environment = "sandbox"\nbase-url = "https://a.org"').keys() == {"environment", "base_url"}
    assert read(tmp_path, 'environment = "sandbox"\n[plan]\nbase-url = "https://a.org"').keys() == {"environment"}


def test_empty_variables() -> None:
    """An empty variable counts as not set, except that it switches a switch off."""
    environ = {"BULK_EXPORT_PAGE_SIZE": "", "BULK_EXPORT_FILTER": " ", "BULK_EXPORT_OVERWRITE": ""}
    assert resolve({}, KNOWN, environ, {"page_size": "7", "overwrite": True}) == {"page_size": "7", "overwrite": False}


def test_unknown_variables() -> None:
    """A variable that looks like an option but is none is named, without its value."""
    environ = {"BULK_EXPORT_TOKEN": "x", "BULK_EXPORT_CONFIG": "x", "BULK_EXPORT_PAGE_SIZE": "1", "PAGE_SIZE": "1"}
    environ["BULK_EXPORT_DECODER"] = "python"
    assert unknown_variables(environ) == []
    (warning,) = unknown_variables(environ | {"BULK_EXPORT_PAGESIZE": "canary"})
    assert "BULK_EXPORT_PAGESIZE" in warning
    assert "did you mean BULK_EXPORT_PAGE_SIZE?" in warning
    assert "canary" not in warning


SOURCES = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from("abc") for name in ("page_size", "environment", "base_url", "updated_since")}
)


@settings(deadline=None)
@given(SOURCES, SOURCES, SOURCES)
def test_any_mix_of_sources(line: dict[str, str], variables: dict[str, str], file: dict[str, str]) -> None:
    """For any mix of sources, the strongest one that gives an option counts."""
    environ = {f"BULK_EXPORT_{name.upper()}": value for name, value in variables.items()}
    resolved = resolve(line, KNOWN, environ, file)
    for name in ("page_size", "updated_since"):
        assert resolved.get(name) == line.get(name, variables.get(name, file.get(name)))
    rivals = {"environment", "base_url"}
    strongest = next((source for source in (line, variables, file) if rivals & source.keys()), {})
    assert {name: resolved[name] for name in rivals & resolved.keys()} == {
        name: strongest[name] for name in rivals & strongest.keys()
    }
