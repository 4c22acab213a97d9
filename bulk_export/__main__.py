"""`python -m bulk_export` is the same as `bulk-export`."""

from bulk_export.cli import main

if __name__ == "__main__":
    main()
