"""Migrations as a job of their own: done before the first replica starts, and again without harm."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("module", "table"), [("session_api", "sessions"), ("event_store", "logs")])
def test_a_database_is_brought_to_the_schema_of_this_version_as_often_as_asked(
    module: str, table: str, tmp_path: Path
) -> None:
    file = tmp_path / "new.db"
    environment = {**os.environ, "MILEPOST_DATABASE_URL": f"sqlite+aiosqlite:///{file}"}
    for _ in range(2):
        subprocess.run([sys.executable, "-m", f"{module}.migrate"], env=environment, check=True, timeout=60)
    with sqlite3.connect(file) as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    assert {table, "alembic_version"} <= tables
