"""The ledger of spent requests in a SQLite file, shared by the processes of a machine."""
