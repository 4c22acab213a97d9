"""What a service says in the body of an error."""

from __future__ import annotations

import pytest

from bulk_export.extract.response import explanation, one_line


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (302, {"Location": "https://login.example/in?token=x"}, b"", "a redirect to login.example"),
        (302, {"Location": "/elsewhere"}, b"", "a redirect"),
        (302, {"Location": "http://["}, b"", "a redirect to what is not an address"),
        (
            422,
            {},
            b'{"errors":[{"title":"Bad","detail":"no such year"},{"title":"Worse"}]}',
            "Bad: no such year; Worse",
        ),
        (401, {}, b'{"error":"who are you"}', "who are you"),
        (400, {}, b'{"message":"no"}', "no"),
        (400, {}, b"[1]", ""),
        (400, {"Content-Type": "text/plain; charset=x"}, b"plain words", "plain words"),
        (400, {"Content-Type": "text/html"}, b"<html>", ""),
    ],
)
def test_the_explanation_of_an_error(status: int, headers: dict[str, str], body: bytes, message: str) -> None:
    """The message is the target of a redirect, the errors in JSON, or the plain text."""
    assert explanation(status, headers, body) == message


def test_one_line_has_no_control_characters() -> None:
    assert one_line("two\nlines\x1b[31m") == one_line("two lines\x1b[31m")
    assert "\x1b" not in one_line("\x1b[31m")
    assert len(one_line("x" * 1_000)) == 300
