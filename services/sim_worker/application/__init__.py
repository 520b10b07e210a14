"""Use cases of a worker: take an order, run an attempt, prepare a scene, keep artifacts."""
