"""Questions on funded places and links, answered offline from a copy of the service's records."""
