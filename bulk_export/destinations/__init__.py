"""Finished exports and copies into databases.

In the order of a load: `address` (where to), `source` (what is read), `table_plan` (which tables and columns),
`changes` (what happens to a table that exists), `staged_rows` (values as the database takes them), `staged_files` (the
same as Parquet), `statements` (the SQL of the transaction), `loads_table` (what is recorded of it). `destination` is
what each database implements, with its `dialect`.
"""
