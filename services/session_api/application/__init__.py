"""Use cases: one callable each, named by its verb."""
