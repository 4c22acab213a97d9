"""The descriptions that come with the package, as data."""
