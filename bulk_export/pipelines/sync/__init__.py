"""Keeps a copy of a service's records current.

A poll passes these modules, in this order (`poll` calls one after the other):

    open_copy          whose copy it is, and whether polls made what lies there
    reconcile          tables and state compared; the older one decides what is fetched
    plan_poll          which endpoints are due for a full sync, and from when on changes are asked for
    fetch              an ordinary export for each group of endpoints, below `.bulk-export/`
    confirm_removals   what a full load did not show is looked for in a second one
    merge              one transaction for each table (`tables/`)
    record_poll        the watermarks advance in one write of `sync.json`, then the log gets its line

The others hold values (`options`, `state`, `summary`, `watermark`) or are used along the way (`log`, `service_clock`,
`state_file`). `loop` polls once in each poll interval.
"""
