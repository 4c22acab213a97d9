"""The limits that a service announces in the headers of its responses, for people to compare with what is kept to.

There are several ways, none of them a standard yet:

    RateLimit-Policy: "default";q=1000;w=300      and  RateLimit: "default";r=998;t=12    the latest drafts of the IETF
    RateLimit-Policy: 1000;w=300                  and  RateLimit: limit=1000, remaining=998, reset=12    earlier ones
    RateLimit-Limit: 1000, 1000;w=300             and  RateLimit-Remaining, RateLimit-Reset    the earliest
    X-RateLimit-Limit: 1000                       and  X-RateLimit-Remaining, X-RateLimit-Reset    many services

A reset is a number of seconds or, in the last way, often a time in seconds since the epoch. What is not understood
counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LONGEST = 1_000
_MOST = 10
_NUMBER = re.compile(r"\d{1,12}", re.ASCII)
_PARAMETER = re.compile(
    r"(?:^|[;,\s])(q|w|r|t|limit|remaining|reset)\s*=\s*\"?(\d{1,12})(?!\d)", re.ASCII | re.IGNORECASE
)
_FIRST_NUMBER = re.compile(r"\s*(\d{1,12})\s*(?:[;,]|$)", re.ASCII)
# A reset above this is a time of day and no number of seconds: some time in 2001.
_EPOCH = 1_000_000_000
_PREFIXES = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-")


@dataclass(frozen=True, slots=True)
class PublishedLimit:
    """A limit that a service announces; None for what it does not say.

    Attributes:
        requests: How many requests it allows.
        period: In how many seconds.
        remaining: How many are left.
        reset_in: In how many seconds there are more.
    """

    requests: int | None = None
    period: int | None = None
    remaining: int | None = None
    reset_in: int | None = None


def published_limits(headers: Mapping[str, str], now: float) -> tuple[PublishedLimit, ...]:
    """Return the limits that a response announces, none if it announces none.

    Args:
        headers: Its headers, whatever the case of their names.
        now: The time in seconds since the epoch.
    """
    found = {
        name.lower(): value[:_LONGEST]
        for name, value in headers.items()
        if "ratelimit" in name.lower().replace("-", "")
    }
    policies = [limit for limit in map(_policy, _members(found.get("ratelimit-policy", ""))) if limit is not None]
    states = list(map(_parameters, _states(found.get("ratelimit", ""))))
    if policies or any(states):
        return tuple(_with_states(policies, states))[:_MOST]
    for prefix in _PREFIXES:
        limit = _separate(found, prefix.lower(), now)
        if limit is not None:
            return (limit,)
    return ()


def _policy(text: str) -> PublishedLimit | None:
    parameters = _parameters(text)
    first = _FIRST_NUMBER.match(text)
    requests = parameters.get("q", int(first[1]) if first else None)
    return None if requests is None else PublishedLimit(requests, parameters.get("w"))


def _with_states(policies: list[PublishedLimit], states: list[dict[str, int]]) -> Iterator[PublishedLimit]:
    """Put what is left of each limit beside it: the lists have one order, if they are of one length."""
    for place in range(max(len(policies), len(states))):
        policy = policies[place] if place < len(policies) else PublishedLimit()
        state = states[place] if place < len(states) and len(states) <= max(len(policies), 1) else {}
        yield PublishedLimit(
            policy.requests if policy.requests is not None else state.get("limit"),
            policy.period,
            state.get("r", state.get("remaining")),
            state.get("t", state.get("reset")),
        )


def _separate(headers: Mapping[str, str], prefix: str, now: float) -> PublishedLimit | None:
    first = _FIRST_NUMBER.match(headers.get(f"{prefix}limit", ""))
    if first is None:
        return None
    reset = _number(headers.get(f"{prefix}reset"))
    if reset is not None and reset > _EPOCH:
        reset = max(0, round(reset - now))
    period = _parameters(headers[f"{prefix}limit"]).get("w")
    return PublishedLimit(int(first[1]), period, _number(headers.get(f"{prefix}remaining")), reset)


def _states(text: str) -> list[str]:
    """The limits in a RateLimit header: one, if it has the earlier form with commas inside."""
    return [text] if re.search(r"\b(limit|remaining|reset)\s*=", text) else _members(text)


def _members(text: str) -> list[str]:
    return [member for member in text.split(",") if member.strip()]


def _parameters(text: str) -> dict[str, int]:
    return {name.lower(): int(value) for name, value in _PARAMETER.findall(text)}


def _number(text: str | None) -> int | None:
    match = _NUMBER.fullmatch((text or "").strip())
    return None if match is None else int(match[0])
