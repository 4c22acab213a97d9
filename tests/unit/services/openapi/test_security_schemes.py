"""The header of the token."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.core.model import Authorization
from tests.support.specs import listing, read


@pytest.mark.parametrize(
    ("scheme", "auth"),
    [
        ({"type": "http", "scheme": "bearer"}, Authorization("Authorization", "Bearer")),
        ({"type": "http", "scheme": "Bearer"}, Authorization("Authorization", "Bearer")),
        ({"type": "oauth2", "flows": {}}, Authorization("Authorization", "Bearer")),
        ({"type": "apiKey", "in": "header", "name": "X-Api-Key"}, Authorization("X-Api-Key", "")),
        (
            {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Bearer token"},
            Authorization("Authorization", "Bearer"),
        ),
        (
            {"type": "apiKey", "in": "header", "name": "Authorization", "description": 'with prefix "Token"'},
            Authorization("Authorization", "Token"),
        ),
        ({"type": "http", "scheme": "Token"}, Authorization("Authorization", "Token")),
        (
            {"type": "http", "scheme": "token", "description": 'Write `Token token="abc"`'},
            Authorization("Authorization", 'Token token="{token}"'),
        ),
        (
            {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token token=abc"},
            Authorization("Authorization", "Token token={token}"),
        ),
        ({"type": "http", "scheme": "basic"}, Authorization("Authorization", "Bearer")),
    ],
)
def test_header_of_the_token(scheme: dict[str, Any], auth: Authorization) -> None:
    """Each kind of security scheme gives the header and scheme of the token."""
    assert read({"/boxes": listing()}, components={"securitySchemes": {"it": scheme}}).auth == auth


def test_scheme_in_use_comes_first() -> None:
    schemes = {"old": {"type": "http", "scheme": "bearer"}, "new": {"type": "apiKey", "in": "header", "name": "X-Key"}}
    service = read({"/boxes": listing()}, components={"securitySchemes": schemes}, security=[{"new": []}])
    assert service.auth == Authorization("X-Key", "")
