"""For which tenant the current task works, so that log messages can say it."""

from __future__ import annotations

from contextvars import ContextVar

# Tasks and worker threads that a task starts inherit it. Empty where there are no tenants.
current_tenant: ContextVar[str] = ContextVar("current_tenant", default="")
