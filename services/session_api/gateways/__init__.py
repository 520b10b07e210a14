"""What the use cases stand on: the database, the work queue. No use case imports a driver."""
