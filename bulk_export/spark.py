"""The data source for Apache Spark, under the name that programs import; it needs the extra `spark`."""

from __future__ import annotations

try:
    from bulk_export.integrations.spark import BulkExportDataSource, newest_versions, run_totals
except ImportError as error:
    if not (error.name or "").startswith("pyspark"):
        raise
    raise ImportError("bulk_export.spark needs PySpark 4.1 or newer: pip install 'bulk-export[spark]'.") from error

__all__ = ["BulkExportDataSource", "newest_versions", "run_totals"]
