"""`python -m session_api.migrate`: bring the database of the session API to the schema of this version, and end.

The service does the same when it starts. Apart, it is a job that comes before the first of many replicas.
"""

from pathlib import Path

from runtime.database import migrate
from session_api.settings import SessionApiSettings

MIGRATIONS = Path(__file__).parent / "gateways" / "migrations"

if __name__ == "__main__":
    migrate(SessionApiSettings().database_url, migrations=MIGRATIONS)
