"""Values and what everybody shares: descriptions, units, clocks, credentials, private files. Imports errors only."""
