"""Pure: how sessions are named."""
