"""Every RPC of every service (every_call.py), asked for what is another tenant's: it does not exist."""

import asyncio
import hashlib
import uuid
from dataclasses import replace

import grpc
import pytest
from belongings import Belongings, belongings, new_session
from calls import Row
from every_call import ROWS
from guarded_stack import CALL_S, Guarded, Outcome, methods

from milepost.blob.v1 import blob_service_pb2 as blob
from milepost.event.v1 import event_service_pb2 as event
from milepost.scenario.v1.scenario_pb2 import ScenarioFile
from milepost.session.v1 import session_service_pb2 as session
from milepost.session.v1.session_pb2 import SessionSpec

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLOSED = {name: row for name, row in ROWS.items() if not row.open}


async def test_every_rpc_of_every_service_has_a_row() -> None:
    assert set(ROWS) == set(methods())


async def test_what_belongs_to_another_tenant_does_not_exist(guarded: Guarded) -> None:
    owner = guarded.caller("owner")
    its = await belongings(owner)
    before = await owner.call("EventService.ReadEvents", event.ReadEventsRequest(session_id=its.session_id))

    async def ask(name: str, row: Row) -> tuple[str, Outcome] | None:
        outcome = await guarded.caller("foreigner").call(
            name, *row.requests(its), timeout_s=row.patience_s if row.open else CALL_S
        )
        return None if row.foreign(outcome) else (name, outcome)

    assert [wrong for wrong in await asyncio.gather(*(ask(*one) for one in ROWS.items())) if wrong] == []
    after = await owner.call("EventService.ReadEvents", event.ReadEventsRequest(session_id=its.session_id))
    assert after.response.events == before.response.events


async def test_it_exists_for_its_owner(guarded: Guarded) -> None:
    owner = guarded.caller("owner")
    its = await belongings(owner)
    names = await asyncio.gather(*(new_session(owner, its.scenario_digest) for _ in ROWS))

    async def ask(name: str, row: Row, session_id: str) -> tuple[str, Outcome] | None:
        # Nobody is there to carry commands out: those that wait for a worker were accepted.
        outcome = await owner.call(name, *row.requests(replace(its, session_id=session_id)), timeout_s=row.patience_s)
        return None if row.owner(outcome) else (name, outcome)

    everything = list(zip(ROWS.items(), names, strict=True))
    for destroys in (False, True):
        asked = (ask(*one, session_id) for one, session_id in everything if one[1].destroys == destroys)
        assert [wrong for wrong in await asyncio.gather(*asked) if wrong] == []


async def test_without_a_token_nothing_is_answered(guarded: Guarded) -> None:
    its = Belongings("s", "0" * 64, ScenarioFile(path="f", sha256="0" * 64, size_bytes=1))
    refusal = (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED", "missing")
    for name, row in CLOSED.items():
        outcome = await guarded.bearer(None).call(name, *row.requests(its))
        assert (outcome.code, outcome.reason, outcome.metadata["rule"]) == refusal, name


async def test_a_user_cannot_name_the_tenant_of_a_call(guarded: Guarded) -> None:
    owner, foreigner = guarded.caller("owner"), guarded.caller("foreigner", roles=["service", "admin"])
    its = await belongings(owner)
    forged = dict(foreigner._metadata)["authorization"].removeprefix("Bearer ")
    liar = guarded.bearer(forged, milepost_tenant=owner.tenant)
    outcomes = {name: await liar.call(name, *row.requests(its)) for name, row in CLOSED.items()}
    assert {one.reason for one in outcomes.values()} == {"NOT_PERMITTED"}


async def test_two_tenants_may_use_one_id_and_neither_meets_the_other(guarded: Guarded) -> None:
    north, south = guarded.caller(), guarded.caller()
    name = f"rush-{uuid.uuid4().hex[:8]}"
    for caller in (north, south):
        its = await belongings(caller)
        wanted = session.CreateSessionRequest(
            session_id=name,
            display_name=caller.tenant,
            spec=SessionSpec(scenario_digest=its.scenario_digest),
            request_id=str(uuid.UUID(int=7)),
            create_only=True,
        )
        assert (await caller.call("SessionService.CreateSession", wanted)).response.session.session_id == name
    await north.call("SessionService.CancelSession", session.CancelSessionRequest(session_id=name))
    for caller, ended in ((north, True), (south, False)):
        found = (await caller.call("SessionService.GetSession", session.GetSessionRequest(session_id=name))).response
        assert found.session.display_name == caller.tenant
        assert found.session.HasField("end_time") == ended


async def test_equal_content_is_stored_once_and_read_only_by_who_sent_it(guarded: Guarded) -> None:
    first, second = guarded.caller(), guarded.caller()
    content = uuid.uuid4().bytes
    digest = hashlib.sha256(content).hexdigest()
    upload = [
        blob.UploadBlobRequest(ref=blob.BlobRef(sha256=digest, size_bytes=len(content))),
        blob.UploadBlobRequest(content=content),
    ]
    assert not (await first.call("BlobService.UploadBlob", *upload)).response.already_stored
    # As new to the second as to the first.
    assert (await second.call("BlobService.DownloadBlob", blob.DownloadBlobRequest(sha256=digest))).reason
    assert not (await second.call("BlobService.UploadBlob", *upload)).response.already_stored
    assert (await second.call("BlobService.UploadBlob", *upload)).response.already_stored
    for caller in (first, second):
        read = await caller.call("BlobService.DownloadBlob", blob.DownloadBlobRequest(sha256=digest))
        assert read.responses[0].content == content
