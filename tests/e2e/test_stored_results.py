"""Stored results are those of the build that would simulate them: of another one they are not taken."""

import sqlite3
from contextlib import closing

import pytest
from study_specs import spec_of

from milepost.session.v1.session_pb2 import Session
from milepost.study.v1.study_pb2 import Cell, StudyState
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from stack import RunningStack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


def made_by_another_build(stack: RunningStack, session_id: str, **build: str) -> None:
    """Have the stored result of a session be that of a worker of another build."""
    with closing(sqlite3.connect(stack.folder / "data" / "session_api.db", timeout=10)) as database, database:
        rows = database.execute("select key, resource from results").fetchall()
        (found,) = ((key, one) for key, row in rows if (one := Session.FromString(row)).session_id == session_id)
        key, stored = found
        for name, value in build.items():
            assert getattr(stored.execution, name) not in ("", value)
            setattr(stored.execution, name, value)
        # What nobody would compute again, so that it is seen where it is taken.
        stored.results.state_digest = b"of another build"
        database.execute("update results set resource = ? where key = ?", (stored.SerializeToString(), key))


async def cells_of(stack: RunningStack, digest: str) -> dict[str, Cell]:
    """The cells of a study of four variants on one seed, by variant."""
    created = await stack.client.studies.create(CreateStudyRequest(spec=spec_of(digest, seeds=range(201, 202))))
    study = await stack.client.studies.wait(created.study_id)
    assert study.state == StudyState.STUDY_STATE_COMPLETED
    return {cell.variant: cell async for cell in stack.client.studies.cells(study.study_id)}


async def test_what_another_sumo_or_another_mathematical_library_computed_is_simulated_anew(
    stack: RunningStack, digest: str
) -> None:
    first = await cells_of(stack, digest)
    assert not any(cell.cached for cell in first.values())
    made_by_another_build(stack, first["x0.4"].session_id, sumo_version="1.27.0")
    made_by_another_build(stack, first["x0.7"].session_id, libm_fingerprint="another")
    again = await cells_of(stack, digest)
    assert {name for name, cell in again.items() if cell.cached} == {"x1", "x1.3"}
    digests = {name: cell.state_digest for name, cell in first.items()}
    assert {name: cell.state_digest for name, cell in again.items()} == digests
    # What was simulated anew takes the place of what nobody here would compute.
    assert all(cell.cached for cell in (await cells_of(stack, digest)).values())
