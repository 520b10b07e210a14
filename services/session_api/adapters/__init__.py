"""What calls the use cases: gRPC, and the feed of stored events. Translates, decides nothing."""
