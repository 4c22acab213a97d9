"""Keeps a copy of a service's records current.

A poll passes these modules, in this order (`poll` calls one after the other):

    open_copy          whether this is a copy of the same service, made by polls alone
    reconcile          compare tables and state; the older one decides what is fetched
    plan_poll          which endpoints are due for a full sync, and since when changes are requested
    fetch              one ordinary export for each group of endpoints, below `.bulk-export/`
    confirm_removals   look for missing records in a second load
    merge              one transaction for each table (`tables/`)
    record_poll        the watermarks advance in one write of `sync.json`, then the log gets its line

The others hold values (`options`, `state`, `summary`, `watermark`) or are used along the way (`log`, `service_clock`,
`state_file`). `loop` polls once in each poll interval.
"""
