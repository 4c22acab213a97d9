"""What Unix and Windows do in different ways: open directories, locks, access to files, and signals.

Each module asks whether the system has a call, never for its name, and has another way where it has not. Everything
else in the package uses these modules, so it may be imported and run on both.
"""
