"""How any process of ours starts, reports, talks to the broker, serves gRPC and stops."""
