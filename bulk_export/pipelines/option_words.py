"""What users of other programs call the options: words of curl, wget, rclone, pg_dump, psql, DuckDB, make and others.

Both the command line and the Python functions answer an unknown name by them.
"""

from __future__ import annotations

from collections.abc import Mapping

# By option, what others call it. If several fit, the first one that a command has is meant.
WORDS: Mapping[str, str] = {
    "--quiet": "silent no-messages less-output noverbose",
    "--progress": "no-progress progress-bar progress-meter no-progress-meter noprogress",
    "--verbose": "log-level loglevel info",
    "--debug": "trace traceback stacktrace stack-trace",
    "--dry-run": "dryrun dry simulate just-print what-if whatif no-act noop no-op estimate explain preview",
    "--output": "out outdir out-dir output-dir output-directory output-document dest destination target directory"
    " directory-prefix dir path file folder prefix to copy-to",
    "--to": "database db dbname connection connection-string dsn dest destination target output",
    "--token-file": "token api-key apikey api-token auth bearer oauth2-bearer header password credentials user",
    "--service-limit": "limit-rate rate rate-limit ratelimit max-rate tpslimit bwlimit throttle rps qps"
    " requests-per-second max-requests",
    "--share": "percent percentage fraction",
    "--min-interval": "delay sleep pause wait-between interval wait",
    "--workers": "threads jobs parallel parallelism concurrency concurrent transfers checkers parallel-max"
    " connections max-connections num-workers processes -j -P",
    "--filter": "where query select param params include match condition predicate",
    "--updated-since": "since from after modified-since changed-since updated-after changed-after start-date"
    " start-time max-age newer newer-than incremental time-cond begin",
    "--limit": "max-records records rows max-rows num-rows nrows top sample head count lines max take",
    "--page-size": "batch-size batch per-page per_page pagesize page-length chunk-size chunksize rows-per-page"
    " fetch-size",
    "--retries": "retry max-retries tries attempts max-attempts low-level-retries",
    "--max-wait": "timeout max-time connect-timeout retry-max-time contimeout",
    "--overwrite": "force clobber replace yes clean overwrite-output delete-existing -y",
    "--drop-column": "exclude exclude-column exclude-columns exclude-field ignore-fields skip-column skip-columns"
    " drop drop-columns omit without",
    "--pseudonymise": "pseudonymize pseudonym anonymise anonymize mask redact hash obfuscate",
    "--format": "type file-type filetype file-format output-format as fmt csv tsv excel xlsx xls spreadsheet"
    " ndjson jsonl json-lines parquet delta",
    "--compression": "gzip zstd compress codec compressed compression-level -z",
    "--base-url": "url host address endpoint-url server api base api-url uri hostname",
    "--environment": "env stage staging local sandbox",
    "--ca-file": "cacert ca-cert ca-bundle ca-certificate ca-certificates certificate cert insecure no-verify"
    " no-check-certificate no-verify-ssl -k",
    "--source-address": "interface bind bind-address source-ip local-address address-from",
    "--every": "interval poll watch follow schedule poll-interval repeat",
    "--sort": "order order-by sort-by",
    "--csv-bom": "bom utf8-bom",
    "--metrics": "prometheus metrics-file prometheus-file",
    "--config": "conf config-file configuration settings rcfile -c -K",
    "--work-dir": "temp-dir tmp tmpdir temp tempdir temporary-directory scratch cache-dir",
    "--keep-pages": "raw keep-raw save-raw keep archive",
    "--consistent": "snapshot consistent-snapshot serializable isolation check-twice",
    "--schema": "search-path namespace infer-schema",
    "--table-prefix": "prefix",
    "--like": "as-in same-as",
    "--json": "as-json output-json",
    "--quick": "fast size-only metadata-only",
}
