"""`python -m event_store.migrate`: bring the database of the event store to the schema of this version, and end.

The service does the same when it starts. Apart, it is a job that comes before the first of many replicas.
"""

from pathlib import Path

from event_store.settings import EventStoreSettings
from runtime.database import migrate

MIGRATIONS = Path(__file__).parent / "gateways" / "migrations"

if __name__ == "__main__":
    migrate(EventStoreSettings().database_url, migrations=MIGRATIONS)
