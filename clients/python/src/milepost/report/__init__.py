"""A report of some sessions: one HTML page that needs nothing else, and a picture."""
