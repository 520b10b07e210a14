"""Studies: created, run, ranked, watched."""
