"""Exports in object stores: Amazon S3, Azure Storage with OneLake, Google Cloud Storage, and what speaks as they do."""
