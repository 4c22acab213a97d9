"""What a service offers: descriptions, OpenAPI files, filters, and the bundled stand-in for one."""
