"""The conformance cases: one list for the clients of all languages (README.md)."""
