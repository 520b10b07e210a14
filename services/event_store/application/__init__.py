"""Use cases: ingest, read, watch, follow everything, purge, keep blobs."""
