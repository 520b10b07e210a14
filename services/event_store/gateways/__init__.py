"""What the use cases stand on: the database, the broker's stream, the folder of blobs."""
