"""Signals for a task, with the event loops of Unix and with those of Windows."""

from __future__ import annotations

import asyncio
import os
import signal

import anyio
import pytest

from bulk_export.core.compat.signals import received_signals, stopping_signals


@pytest.mark.parametrize("handles", [True, False])
async def test_signal_reaches_task(*, handles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal arrives as a value, once for each time it is sent, and is handled as before afterwards."""

    def add_signal_handler(*_: object) -> None:
        raise NotImplementedError

    if not handles:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", add_signal_handler)
    earlier = signal.getsignal(signal.SIGTERM)
    with anyio.fail_after(10), received_signals(signal.SIGTERM, signal.SIGINT) as signals:
        for sent in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), sent)
            assert await anext(signals) == sent
    assert signal.getsignal(signal.SIGTERM) is earlier


def test_signals_that_a_system_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP is left alone if it is ignored, or does not exist."""
    assert signal.SIGHUP in stopping_signals()
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    assert stopping_signals() == (signal.SIGINT, signal.SIGTERM)
    monkeypatch.delattr(signal, "SIGHUP")
    assert stopping_signals() == (signal.SIGINT, signal.SIGTERM)
