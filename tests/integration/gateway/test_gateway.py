"""What browsers get from the gateway, on a real API and a real store."""

import asyncio
import contextlib
import io
import os
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pytest
from guarded_stack import Guarded, guarded_stack, token
from running_gateway import TYPE, Browser, browsing_at, framed, frames, running_gateway, trailers_of

from milepost.event.v1.event_service_pb2 import (
    GetHeadRequest,
    GetHeadResponse,
    WatchEventsRequest,
    WatchEventsResponse,
)
from milepost.scenario.v1.scenario_service_pb2 import (
    FileChunk,
    UploadHeader,
    UploadScenarioRequest,
    UploadScenarioResponse,
    ZipArchive,
)
from milepost.session.v1.session_pb2 import Session
from milepost.session.v1.session_service_pb2 import (
    CreateDemoSessionRequest,
    CreateDemoSessionResponse,
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
)
from runtime.grpc_server import MAX_MESSAGE_BYTES, OpenToEverybody

pytestmark = pytest.mark.asyncio(loop_scope="session")

SESSIONS, SCENARIOS = "session.v1.SessionService", "scenario.v1.ScenarioService"
EVENTS = "event.v1.EventService"
GET, LIST, WATCH = f"{SESSIONS}/GetSession", f"{SESSIONS}/ListSessions", f"{EVENTS}/WatchEvents"
OK, INVALID, DEADLINE, NOT_FOUND, EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED = 0, 3, 4, 5, 8, 14, 16


async def created(browser: Browser) -> Session:
    """A session whose log can be watched."""
    answer = await browser.call(f"{SESSIONS}/CreateDemoSession", CreateDemoSessionRequest(seed=1))
    return CreateDemoSessionResponse.FromString(answer.messages[0]).session


async def watchers(browser: Browser, session_id: str) -> int:
    answer = await browser.call(f"{EVENTS}/GetHead", GetHeadRequest(session_id=session_id))
    return GetHeadResponse.FromString(answer.messages[0]).watchers


async def becomes(browser: Browser, session_id: str, wanted: int) -> None:
    async with asyncio.timeout(20):
        while await watchers(browser, session_id) != wanted:
            await asyncio.sleep(0.05)


async def test_a_call_is_answered_as_over_grpc(browser: Browser) -> None:
    session = await created(browser)
    answer = await browser.call(GET, GetSessionRequest(session_id=session.session_id))
    assert answer.code == OK
    assert GetSessionResponse.FromString(answer.messages[0]).session.owner == "ada"


async def test_an_error_keeps_its_details(browser: Browser) -> None:
    answer = await browser.call(GET, GetSessionRequest(session_id="größe-unbekannt"))
    assert (answer.code, answer.info.reason, answer.messages) == (NOT_FOUND, "SESSION_NOT_FOUND", [])
    assert answer.info.metadata["session_id"] == "größe-unbekannt"
    assert "größe-unbekannt" in answer.trailers["grpc-message"]
    assert list((await browser.call(GET, GetSessionRequest())).violations) == ["session_id"]


async def test_a_stream_comes_as_it_is_said_and_ends_at_the_store_when_the_page_goes(browser: Browser) -> None:
    session = await created(browser)
    request = framed(WatchEventsRequest(session_id=session.session_id))
    async with browser.stream(WATCH, request) as response:
        # Nothing more comes: the session waits for a worker. What was said is here all the same.
        heard = frames(response)
        async for _, content in heard:
            if WatchEventsResponse.FromString(content).HasField("caught_up"):
                break
        await becomes(browser, session.session_id, 1)
    await becomes(browser, session.session_id, 0)


async def test_a_stream_that_is_refused_says_why(browser: Browser) -> None:
    answer = await browser.call(WATCH, WatchEventsRequest(session_id="nobody"))
    assert (answer.code, answer.info.reason) == (NOT_FOUND, "SESSION_NOT_FOUND")


async def test_deadlines_are_passed_on(browser: Browser) -> None:
    session = await created(browser)
    begin = time.monotonic()
    answer = await browser.call(WATCH, WatchEventsRequest(session_id=session.session_id), grpc_timeout="300m")
    assert answer.code == DEADLINE
    assert time.monotonic() - begin < 10
    await becomes(browser, session.session_id, 0)
    for wrong in ("soon", "1", "S", "-1S", "123456789S", "1²S"):
        said = {**TYPE, **browser.headers, "grpc-timeout": wrong.encode()}
        answer = await browser.http.post(f"/milepost.{LIST}", content=b"\0\0\0\0\0", headers=said)
        assert trailers_of(answer.content[5:])["grpc-status"] == str(INVALID), wrong
    assert (await browser.call(LIST, ListSessionsRequest(), grpc_timeout="99999999H")).code == OK


@pytest.mark.parametrize(("said", "rule"), [("", "missing"), ("forged", "signature")])
async def test_who_calls_is_for_the_services_to_say(gateway: str, said: str, rule: str) -> None:
    forged = token("mallory", tenant="browsers", key="some other key of thirty-two bytes and more")
    async with browsing_at(gateway, forged if said else "") as somebody:
        for method, request in (
            (LIST, ListSessionsRequest()),
            (WATCH, WatchEventsRequest(session_id="any")),
        ):
            answer = await somebody.call(method, request)
            assert (answer.code, answer.info.metadata["rule"]) == (UNAUTHENTICATED, rule)


async def test_a_token_that_is_no_text_is_refused_and_not_passed_on(gateway: str) -> None:
    async with httpx.AsyncClient(base_url=gateway) as http:
        said = {**TYPE, "authorization": b"Bearer \xe9"}
        answer = await http.post(f"/milepost.{LIST}", content=b"\0\0\0\0\0", headers=said)
    assert trailers_of(answer.content[5:])["grpc-status"] == str(INVALID)


async def test_an_upload_is_one_body(browser: Browser) -> None:
    demo = Path(__file__).parents[3] / "services" / "scenario" / "demo" / "city"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in demo.iterdir():
            zipped.write(file, file.name)
    header = UploadHeader(display_name="city", zip=ZipArchive())
    content, piece = archive.getvalue(), 64 * 1024
    chunks = [
        UploadScenarioRequest(chunk=FileChunk(offset=at, content=content[at : at + piece]))
        for at in range(0, len(content), piece)
    ]
    upload = f"{SCENARIOS}/UploadScenario"
    answer = await browser.call(upload, UploadScenarioRequest(header=header), *chunks)
    assert answer.code == OK
    stored = UploadScenarioResponse.FromString(answer.messages[0]).scenario
    assert {file.path for file in stored.files} == {file.name for file in demo.iterdir()}
    # Refused in the middle: what is still coming is taken off the wire, and the reason arrives.
    wrong = UploadScenarioRequest(chunk=FileChunk(offset=7, content=b"x"))
    answer = await browser.call(upload, UploadScenarioRequest(header=header), wrong, *chunks)
    assert answer.code == INVALID


async def test_limits_hold_and_nothing_breaks(browser: Browser) -> None:
    assert (await browser.call(LIST, b"x" * (MAX_MESSAGE_BYTES + 1))).code == EXHAUSTED
    assert (await browser.call(LIST)).code == INVALID
    assert (await browser.call(LIST, ListSessionsRequest(), ListSessionsRequest())).code == INVALID
    cut_off = await browser.http.post(
        f"/milepost.{LIST}", content=b"\0\0\0\0\x09half", headers={**TYPE, **browser.headers}
    )
    assert trailers_of(cut_off.content[5:])["grpc-status"] == str(INVALID)
    compressed = await browser.http.post(
        f"/milepost.{LIST}", content=b"\1\0\0\0\0", headers={**TYPE, **browser.headers}
    )
    assert trailers_of(compressed.content[5:])["grpc-status"] == str(INVALID)
    assert (await browser.call(LIST, ListSessionsRequest())).code == OK


async def test_only_calls_of_browsers_pass(browser: Browser) -> None:
    async def status(path: str, **options: object) -> int:
        return (await browser.http.request("POST", path, content=b"\0\0\0\0\0", **options)).status_code

    # What a form can send must not be a call: no browser asks before it sends that.
    for simple in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert await status(f"/milepost.{LIST}", headers={"content-type": simple}) == 415
    assert (await browser.http.get(f"/milepost.{LIST}")).status_code == 405
    for hidden in ("milepost.admin.v1.SessionAdminService/SetQuota", "milepost.blob.v1.BlobService/HoldBlobs"):
        assert await status(f"/{hidden}", headers=TYPE) == 404


async def test_pages_of_other_origins_need_to_be_allowed(gateway: str, browser: Browser) -> None:
    async def preflight(origin: str) -> httpx.Response:
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,grpc-timeout,x-grpc-web",
        }
        return await browser.http.options(f"/milepost.{LIST}", headers=asked)

    allowed = await preflight("https://city.example")
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "https://city.example"
    granted = allowed.headers["access-control-allow-headers"]
    assert all(name in granted for name in ("authorization", "content-type", "grpc-timeout", "x-grpc-web"))
    refused = await preflight("https://evil.example")
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)

    headers = {**TYPE, **browser.headers}
    for origin, status in (("https://city.example", 200), (gateway, 200), ("https://evil.example", 403), ("null", 403)):
        said = {**headers, "origin": origin}
        answer = await browser.http.post(f"/milepost.{LIST}", content=b"\0\0\0\0\0", headers=said)
        assert answer.status_code == status, origin
    assert answer.headers.get("access-control-allow-origin") is None


async def test_a_name_that_leads_here_does_not_make_a_page_ours(browser: Browser) -> None:
    for host in ("evil.example", "evil.example:7402", "127.0.0.1.evil.example", "[nonsense"):
        said = {**TYPE, **browser.headers, "host": host, "origin": f"http://{host}"}
        answer = await browser.http.post(f"/milepost.{LIST}", content=b"\0\0\0\0\0", headers=said)
        assert answer.status_code == 403, host
    for host in ("localhost:1", "127.0.0.1:1", "[::1]:1"):
        assert (await browser.http.get("/", headers={"host": host})).status_code == 200, host


async def test_the_console_is_served_and_nothing_beside_it(browser: Browser) -> None:
    page = await browser.http.get("/")
    assert (page.status_code, page.text) == (200, "<title>Milepost</title>")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for path in ("/secret.key", "/../settings.py", "/%2e%2e/settings.py", "//etc/passwd"):
        assert (await browser.http.get(path)).status_code == 404, path


async def test_services_that_are_away_are_unavailable(guarded: Guarded, tmp_path: Path) -> None:
    async with running_gateway(tmp_path, "127.0.0.1:1", guarded.addresses[1]) as gateway, browsing_at(gateway) as page:
        assert (await page.call(LIST, ListSessionsRequest())).code == UNAVAILABLE
        ready = await page.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"session_api": "UNREACHABLE", "event_store": "SERVING"})
        assert (await page.http.get("/livez")).status_code == 200


async def test_a_gateway_that_stops_ends_its_streams(guarded: Guarded, tmp_path: Path) -> None:
    said = token("ada", tenant="browsers")
    async with contextlib.AsyncExitStack() as held:
        gateway = contextlib.AsyncExitStack()
        address = await gateway.enter_async_context(running_gateway(tmp_path, *guarded.addresses))
        page = await held.enter_async_context(browsing_at(address, said))
        session = await created(page)
        request = framed(WatchEventsRequest(session_id=session.session_id))
        response = await held.enter_async_context(page.stream(WATCH, request))
        heard = frames(response)
        assert (await anext(heard))[0] == 0
        stopping = asyncio.create_task(gateway.aclose())
        *_, (flags, content) = [frame async for frame in heard]
        assert (flags, trailers_of(content)["grpc-status"]) == (0x80, str(UNAVAILABLE))
        await stopping


async def test_it_is_not_open_to_everybody_by_mistake(guarded: Guarded, tmp_path: Path) -> None:
    everywhere = {"listen": "0.0.0.0:0"}
    async with running_gateway(tmp_path, *guarded.addresses, **everywhere) as gateway, browsing_at(gateway) as page:
        assert (await page.call(LIST, ListSessionsRequest())).code == UNAUTHENTICATED


async def test_before_services_that_ask_nobody_it_serves_this_machine_alone(tmp_path: Path) -> None:
    async with guarded_stack(tmp_path / "open", auth_shared_key=None, auth_service_key=None) as open_to_all:
        with pytest.raises(OpenToEverybody):
            async with running_gateway(tmp_path, *open_to_all.addresses, listen="0.0.0.0:0"):
                pass
        async with running_gateway(tmp_path, *open_to_all.addresses) as gateway, browsing_at(gateway) as page:
            assert (await page.call(LIST, ListSessionsRequest())).code == OK


async def test_a_container_is_asked_whether_it_lives(gateway: str) -> None:
    async def probe(listen: str) -> int:
        environment = {**os.environ, "SERVICE": "gateway", "MILEPOST_LISTEN": listen}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "runtime.probe", env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    assert await probe(gateway.removeprefix("http://")) == 0
    assert await probe("0.0.0.0:1") == 1
