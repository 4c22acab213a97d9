"""What users of other programs type is understood, and answered with the option or command that they mean."""

from __future__ import annotations

import pytest

from bulk_export.cli import app, near_misses
from bulk_export.cli.command_group import NAMES
from bulk_export.cli.near_misses import option_meant, options_of
from bulk_export.cli.runner import run
from bulk_export.pipelines.option_words import WORDS

EVERY = {option for name in NAMES for option in options_of(name)}


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("export --silent", "Did you mean --quiet?"),
        ("export --csv", "Did you mean --format?"),
        ("export --excel", "Excel reads --format csv --csv-bom."),
        ("sync --parquet", "Did you mean --format?"),
        ("export --dryrun", "Did you mean --dry-run?"),
        ("sync --simulate", "Did you mean --dry-run?"),
        ("export --out x", "Did you mean --output?"),
        ("export --token x", "Did you mean --token-file?"),
        ("export --limit-rate 1M", "Did you mean --service-limit?"),
        ("export --rate 5/s", "Did you mean --service-limit?"),
        ("export --threads 4", "Did you mean --workers?"),
        ("export --jobs=4", "Did you mean --workers?"),
        ("export -j4", "Did you mean --workers?"),
        ("export --where a=b", "Did you mean --filter?"),
        ("export --Max_Records 4", "Did you mean --limit?"),
        ("export --table statements", "bulk-export export statements"),
        ("export --proxy x", "HTTPS_PROXY"),
        ("load x --db y", "Did you mean --to?"),
        ("export --page-siz 3", "Did you mean --page-size?"),
        ("sync --since 2025-01-01", "--updated-since is an option of export and head."),
        ("verify --workers 3", "--workers is an option of export, sync and plan."),
        ("verify --json", "--json is an option of export, sync, resume, replay, "),
        ("--quiet export", "Options stand behind the command"),
        ("download", "Did you mean 'export'?"),
        ("exprt", "Did you mean 'export'"),
        ("tenants", "--tenants FILE, an option of export, sync, plan and load"),
        ("diff", "bulk-export verify DIR compares"),
        ("status", "bulk-export resume lists unfinished exports"),
        ("version", "Did you mean '--version'?"),
        ("-V", "bulk-export --version"),
        ("export -V", "bulk-export --version"),
        ("export --xyzzy", "No such option: --xyzzy"),
    ],
)
def test_answer(line: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names what is meant, in two lines, and does not repeat a value."""
    assert run(app, line.split()) == 2
    shown = capsys.readouterr().err
    assert answer in shown
    assert len(shown.splitlines()) == 2


def test_a_token_on_the_line_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """The value of an option that does not exist may be a secret."""
    for line in (["export", "--token", "secret-1"], ["export", "--token=secret-2"], ["export", "--password=secret-3"]):
        run(app, line)
    assert "secret" not in capsys.readouterr().err


def test_words_lead_to_what_exists() -> None:
    """Every option and command in the tables exists, and none of the words for it is one of the command's own."""
    assert set(WORDS) <= EVERY
    assert set(near_misses._COMMANDS) <= set(NAMES)
    for ours, words in WORDS.items():
        for word in words.split():
            option = word if word.startswith("-") else f"--{word}"
            assert option_meant(option, [ours]) is not None
