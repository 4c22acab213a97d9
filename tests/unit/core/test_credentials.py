"""The token: found where it may be, refused where it cannot be one, and never shown."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import ReadableByOthers, Token, find_token
from bulk_export.errors import UsageError

SECRET = "canary-5a1f"
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@settings(deadline=None)
@given(WORDS)
def test_any_word_of_printable_ascii_can_be_a_token(word: str) -> None:
    assert Token(word).reveal() == word


@settings(deadline=None)
@given(st.text(max_size=20).filter(lambda text: not text or any(not "!" <= letter <= "~" for letter in text)))
def test_other_texts_cannot_be_a_token(text: str) -> None:
    """Anything else cannot be a token, and the message does not repeat it."""
    with pytest.raises(UsageError) as refused:
        Token(text)
    assert len(text) < 4 or text not in " ".join(refused.value.lines())


def test_token_is_not_shown() -> None:
    """Neither repr, str, formatting nor pickle show the token."""
    token = Token(SECRET)
    assert SECRET not in f"{token!r} {token!s} {token} {[token]} {vars(Token)}"
    for store in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as refused:
            store(token)
        assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "content",
    [
        "canary-5a1f  \r\n".encode("utf-8-sig"),
        "canary-5a1f\r\n".encode("utf-16"),
        b"\xfe\xff" + "canary-5a1f\n".encode("utf-16-be"),
    ],
)
def test_token_file_of_any_editor(tmp_path: Path, content: bytes) -> None:
    """A token is read whichever editor or shell wrote its file."""
    assert find_token(private(tmp_path / "token", content), {}).reveal() == SECRET
    assert find_token(None, {"BULK_EXPORT_TOKEN": f"\ufeff{SECRET} \r\n"}).reveal() == SECRET


def test_the_file_comes_before_the_variable(tmp_path: Path) -> None:
    variables = {"BULK_EXPORT_TOKEN": "from-variable"}
    assert find_token(private(tmp_path / "token", b" from-file\r\n"), variables).reveal() == "from-file"
    assert find_token(None, variables).reveal() == "from-variable"


@pytest.mark.parametrize("variables", [{}, {"BULK_EXPORT_TOKEN": ""}, {"BULK_EXPORT_TOKEN": " \n"}])
def test_missing_token(variables: dict[str, str]) -> None:
    """Without a token the message says where to put one."""
    with pytest.raises(UsageError) as refused:
        find_token(None, variables)
    assert "--token-file" in refused.value.next_step
    assert "BULK_EXPORT_TOKEN" in refused.value.next_step


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"two words", "no header can carry"),
        (b"two\nlines", "no header can carry"),
        (b"\xff\xfe", "is empty"),
        ("to\u200bken".encode(), "no header can carry"),
        (b"a" * 5_000, "far too long"),
        (b"a" * 100_000, "far too long"),
    ],
)
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_token(private(tmp_path / "token", content), {"BULK_EXPORT_TOKEN": SECRET})
    assert said in refused.value.what


@pytest.mark.parametrize("name", ["none", ".", "file/below", "nul\0byte", "n" * 300])
def test_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    """A file that cannot be read is refused, and the environment variable does not stand in for it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be read"):
        find_token(tmp_path / name, {"BULK_EXPORT_TOKEN": SECRET})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_shared_file_is_warned_of(tmp_path: Path, mode: int) -> None:
    """A file that others may read or write causes a warning."""
    path = private(tmp_path / "token", SECRET.encode())
    path.chmod(mode)
    with pytest.warns(ReadableByOthers, match="chmod 600") as warned:
        assert find_token(path, {}).reveal() == SECRET
    assert SECRET not in str(warned[0].message)


def test_a_pipe_will_do(tmp_path: Path) -> None:
    """As a shell's `--token-file <(pass show npq)` hands over."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(SECRET,))
    writer.start()
    assert find_token(tmp_path / "pipe", {}).reveal() == SECRET
    writer.join()
