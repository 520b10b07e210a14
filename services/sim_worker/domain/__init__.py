"""Pure: what to do with an order, and how a recovery is judged."""
