"""The functions for Python programs, with the options of the command line as keyword arguments.

Programs import them from `bulk_export` itself.
"""
