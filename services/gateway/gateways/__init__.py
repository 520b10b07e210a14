"""What serves us: session_api and event_store, over gRPC."""
