"""What the broker calls: presence and questions. Translates, decides nothing."""
