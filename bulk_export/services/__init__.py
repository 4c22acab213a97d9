"""What a service offers: descriptions, OpenAPI files, filters and sorts, and the local service that stands in for one."""
