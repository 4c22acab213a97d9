"""Pages from a service to the journal.

A page passes the modules in this order: `pagination` (which page is worth requesting), `sweep` (one pass over an
endpoint), `dispatcher` (when to send), `rate_limit/` (a permit), `page_fetcher` (one page), `client` (one request),
`content_encoding` (the body), `journal/`. Beside them: `page_evidence`, `page_lengths`, `page_numbering`,
`repeated_pages`, `stale_responses` and `paging_facts` are what responses prove and what is remembered; `retry` and
`outage` are what failures mean; `consistency` and `order_check` find records that stood on no page.
"""
