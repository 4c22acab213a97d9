"""The ledger of spent requests in Redis, shared by machines."""
