"""Assets for Dagster: `import bulk_export.dagster`. See docs/scheduling.md."""

from __future__ import annotations

from bulk_export.integrations.dagster import export_assets, sync_assets

__all__ = ["export_assets", "sync_assets"]
