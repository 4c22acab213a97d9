"""One table of a copy: how it is stored, and how fetched records are compared with its rows and merged into it."""
