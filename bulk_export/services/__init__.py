"""What a service offers: descriptions, OpenAPI files, filters and sorts; and the local service, a stand-in for one."""
