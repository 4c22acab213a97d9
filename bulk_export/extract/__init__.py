"""Pages from a service to the journal: paging, the dispatcher, rate limits, the HTTP client."""
