"""The event store: writes the broker's stream to a database, serves history and watches, keeps blobs."""
