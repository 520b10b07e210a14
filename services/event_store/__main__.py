"""`python -m event_store`."""

from event_store.main import main

main()
