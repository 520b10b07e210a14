"""What calls the use cases: gRPC. Translates, decides nothing."""
