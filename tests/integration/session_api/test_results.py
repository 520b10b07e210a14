"""Stored results: the tenant's own, and others' only where the installation says so."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from databases import url_of
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.session.v1.session_pb2 import Results as Outcome
from milepost.session.v1.session_pb2 import Session
from runtime.database import open_database
from session_api.application.forget_results import ForgetResults
from session_api.gateways.grants import utc_now
from session_api.gateways.results_sql import Results
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.tables import results as table
from session_api.main import MIGRATIONS


def came_to(name: str, arrived: int) -> Session:
    return Session(session_id=name, display_name="not kept", results=Outcome(kpis=Kpis(arrived=arrived)))


async def test_results_of_other_tenants_are_taken_only_where_that_is_allowed(tmp_path: Path) -> None:
    async with open_database(url_of(tmp_path / "api.db"), migrations=MIGRATIONS) as engine:
        sessions = Sessions(engine)
        apart, shared = (Results(engine, sessions, shared=allowed) for allowed in (False, True))
        await apart.put("north", {"k": came_to("n", 1), "only": came_to("o", 2)})
        assert await apart.find("south", {"k", "only"}) == {}
        found = await shared.find("south", {"k", "only", "none"})
        assert {key: (one.session.session_id, one.own) for key, one in found.items()} == {
            "k": ("n", False),
            "only": ("o", False),
        }
        # One's own before others', and a later one in place of an earlier.
        await shared.put("south", {"k": came_to("first", 3)})
        await shared.put("south", {"k": came_to("s", 4)})
        own = (await shared.find("south", {"k"}))["k"]
        assert (own.session.session_id, own.session.results.kpis.arrived, own.own) == ("s", 4, True)
        assert own.session.display_name == ""
        assert (await apart.find("north", {"k"}))["k"].session.session_id == "n"


async def test_more_keys_than_a_statement_takes_are_asked_for(tmp_path: Path) -> None:
    async with open_database(url_of(tmp_path / "api.db"), migrations=MIGRATIONS) as engine:
        results = Results(engine, Sessions(engine), shared=False)
        await results.put("t", {f"{number:04}": came_to(str(number), number) for number in range(1200)})
        found = await results.find("t", {f"{number:04}" for number in range(1200)})
        assert [found[f"{number:04}"].session.results.kpis.arrived for number in range(1200)] == list(range(1200))


async def test_results_that_nobody_asks_for_are_forgotten(tmp_path: Path) -> None:
    async with open_database(url_of(tmp_path / "api.db"), migrations=MIGRATIONS) as engine:
        results = Results(engine, Sessions(engine), shared=True)
        await results.put("t", {"asked": came_to("a", 1), "not": came_to("n", 2)})
        await results.put("other", {"asked": came_to("o", 3)})
        now = utc_now()
        tomorrow, later = now + timedelta(days=1), now + timedelta(days=3)
        keep = timedelta(days=2)
        assert await ForgetResults(results, None, lambda: later)() == 0
        assert await ForgetResults(results, keep, lambda: tomorrow)() == 0
        async with engine.begin() as connection:
            await connection.execute(update(table).values(use_time=now - timedelta(days=1)))
        # Whose they are is all the same: both were looked at.
        assert await results.find("t", {"asked"})
        assert await ForgetResults(results, keep, lambda: now + timedelta(days=1.5))() == 1
        assert set(await results.find("t", {"asked", "not"})) == {"asked"}
        assert await ForgetResults(results, keep, lambda: later)() == 2
