"""Nonsense, sent to every RPC: refused with a reason, answered, or late; never INTERNAL, never the end of a server."""

import asyncio
import io
import uuid
import zipfile
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from any_message import any_message
from belongings import TEMPLATE, TINY, belongings
from google.protobuf.message import Message
from guarded_stack import Caller, Guarded, methods
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from milepost.admin.v1 import admin_service_pb2 as admin
from milepost.scenario.v1 import scenario_service_pb2 as scenario
from milepost.session.v1 import session_service_pb2 as session
from milepost.session.v1.session_pb2 import SessionSpec

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Whoever waits for a worker waits for nothing here.
CALL_S = 0.3
NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
SEVERAL = 4


_known: dict[int, tuple[Caller, dict[str, list[str]]]] = {}


async def fuzzer(guarded: Guarded) -> tuple[Caller, dict[str, list[str]]]:
    """A caller with something to its name, and what that is: made once."""
    if id(guarded) not in _known:
        caller = guarded.caller("fuzzer", roles=["admin"])
        its = await belongings(caller)
        spec = SessionSpec(scenario_digest=its.scenario_digest)
        only = session.CreateSessionRequest(spec=spec, create_only=True)
        created = [await caller.call("SessionService.CreateSession", only) for _ in range(SEVERAL)]
        names = [its.session_id, *(one.response.session.session_id for one in created)]
        files = [file.name for file in TINY.iterdir()]
        digests = [its.scenario_digest, its.file.sha256]
        _known[id(guarded)] = (
            caller,
            {
                **dict.fromkeys(("session_id", "session_ids"), names),
                **dict.fromkeys(("scenario_digest", "digest", "sha256"), digests),
                **dict.fromkeys(("path", "file"), files),
                "select": ["tlLogic/phase[1]", ".//*", "edge/lane"],
                "value": ["green_s", "2 * green_s"],
                "name": [TEMPLATE, "green_s"],
                "paths": ["display_name", "labels", "spec", "spec.seed", "spec.limits"],
                "metrics": ["running", "arrived", "mean_speed_mps"],
                "request_id": [str(uuid.UUID(int=number)) for number in range(SEVERAL)],
            },
        )
    return _known[id(guarded)]


async def survive(caller: Caller, name: str, requests: list[Message]) -> None:
    """Send it: whatever comes of it is no defect."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            outcome = await caller.call(name, *requests, timeout_s=CALL_S)
            # gRPC's own, without our ErrorInfo: a refusal met a message on its way. Clients send it again.
            met = outcome.code is grpc.StatusCode.INTERNAL and not outcome.reason
            if not (met and methods()[name].client_streaming):
                break
    assert outcome.code not in NEVER, (name, requests, outcome)
    failed = [entry for entry in logs if entry["event"] == "call failed"]
    assert not failed, (name, requests, failed)


def requests_of(data: st.DataObject, name: str, known: dict[str, list[str]]) -> list[Message]:
    method = methods()[name]
    count = data.draw(st.integers(0, SEVERAL)) if method.client_streaming else 1
    return [data.draw(any_message(method.input_type, known)) for _ in range(count)]


def often(examples: int) -> Any:
    """Settings of a search: the same in every run, without a database, and no shrinking of what takes real time."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("name", sorted(methods()))
@often(5)
@given(data=st.data())
async def test_every_rpc_bears_nonsense(guarded: Guarded, name: str, data: st.DataObject) -> None:
    caller, known = await fuzzer(guarded)
    await survive(caller, name, requests_of(data, name, known))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(methods()))
@often(300)
@given(data=st.data())
async def test_every_rpc_bears_much_nonsense(guarded: Guarded, name: str, data: st.DataObject) -> None:
    caller, known = await fuzzer(guarded)
    await survive(caller, name, requests_of(data, name, known))


@often(8)
@given(data=st.data())
async def test_a_bundle_that_was_tampered_with_is_refused_or_taken(guarded: Guarded, data: st.DataObject) -> None:
    await bear_bundle(await with_no_quota(guarded), data.draw(bundles()))


@pytest.mark.long
@pytest.mark.timeout(1800)
@often(400)
@given(data=st.data())
async def test_many_bundles_that_were_tampered_with_are_refused_or_taken(guarded: Guarded, data: st.DataObject) -> None:
    await bear_bundle(await with_no_quota(guarded), data.draw(bundles()))


async def with_no_quota(guarded: Guarded) -> Caller:
    """Somebody new; nonsense may have changed what everybody may do."""
    everybody = admin.SetQuotaRequest(quota=admin.Quota())
    await guarded.caller("root", roles=["admin"]).call("SessionAdminService.SetQuota", everybody)
    return guarded.caller()


async def bear_bundle(caller: Caller, bundle: bytes) -> None:
    header = scenario.UploadHeader(zip=scenario.ZipArchive())
    requests = [scenario.UploadScenarioRequest(header=header)]
    requests += [scenario.UploadScenarioRequest(chunk=scenario.FileChunk(content=bundle))] if bundle else []
    outcome = await asyncio.wait_for(caller.call("ScenarioService.UploadScenario", *requests, timeout_s=30), 40)
    assert outcome.code in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}, outcome
    assert outcome.reason in {"", "SCENARIO_INVALID", "SCENARIO_TOO_LARGE", "FIELD_INVALID"}, outcome


_PIECES = [b"", b"\x00", b"<", b'"', b"&#x0;", b"&x;", b"<!DOCTYPE a>", b"../../x", b"-1", b"1e309", b"\xff\xfe"]


@st.composite
def bundles(draw: st.DrawFn) -> bytes:
    """The small scenario, with pieces of a file or of the archive itself cut out, put in or written over."""
    files = {file.name: file.read_bytes() for file in sorted(Path(TINY).iterdir())}
    if draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(files)))
        files[name] = draw(_tampered(files[name]))
        return _zipped(files)
    if draw(st.booleans()):
        files[draw(st.sampled_from(["../x", "/x", "a/../../x", "con\x00", "a" * 300, "tiny.net.xml/x"]))] = b"x"
        return _zipped(files)
    return draw(_tampered(_zipped(files)))


@st.composite
def _tampered(draw: st.DrawFn, content: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.integers(0, 40)))
        content = content[:begin] + draw(st.sampled_from(_PIECES)) + content[end:]
    return content


def _zipped(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for name, content in files.items():
            written.writestr(name, content)
    return archive.getvalue()
