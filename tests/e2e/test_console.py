"""The console, as a person sees it: a real browser, a real stack, a session that runs."""

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from browser import Tab, browsing
from stack import running_stack

pytestmark = pytest.mark.slow

CONSOLE = Path(__file__).parents[2] / "services" / "gateway" / "console"
PATIENCE_S = 60.0
KEY = "the key that tokens of users are signed with"
# What stands on a canvas, as the page itself knows it: coloured pixels, and how many of those above lie on a road.
PIXELS = """(() => {
  const drawn = (id) => {
    const canvas = document.getElementById(id);
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  };
  const [roads, cars] = [drawn("network"), drawn("vehicles")];
  let [road, car, onRoad, x] = [0, 0, 0, 0];
  for (let at = 3; at < cars.data.length; at += 4) {
    if (roads.data[at] > 0) road++;
    if (cars.data[at] > 127) { car++; x += (at * 31) % 1000003; if (roads.data[at] > 0) onRoad++; }
  }
  return { road, car, onRoad, where: x };
})()"""


async def until(tab: Tab, expression: str) -> Any:
    """Wait until an expression of the page is true; its value."""
    end = time.monotonic() + PATIENCE_S
    while not (found := await tab.look(expression)):
        assert time.monotonic() < end, f"never: {expression}; {tab.complaints}"
        await asyncio.sleep(0.1)
    return found


async def test_the_console_lists_sessions_and_draws_one_live_on_its_network(tmp_path: Path) -> None:
    if not (CONSOLE / "index.html").exists():
        pytest.skip("the console is not built here: make console")
    async with running_stack(tmp_path / "stack", gateway=True) as stack, browsing(tmp_path) as tab:
        gateway = f"http://{stack.ready['gateway']}"
        await tab.visit(gateway)
        assert await until(tab, "!document.getElementById('no-sessions').hidden")
        # A person presses the button.
        await tab.look("document.getElementById('demo').click()")
        assert await until(
            tab, "document.querySelector('#sessions a[aria-current]')?.textContent.includes('Demo city')"
        )
        await until(tab, "Number(document.getElementById('map').dataset.lanes) > 1000")
        await until(tab, "Number(document.getElementById('map').dataset.vehicles) > 20")
        [session] = [it async for it in stack.client.sessions.list()]
        assert await tab.look("document.querySelectorAll('#sessions a').length") == 1
        assert session.session_id in await tab.look("location.hash")

        first = await tab.look(PIXELS)
        frames = int(await tab.look("document.getElementById('map').dataset.frames"))
        await until(tab, f"Number(document.getElementById('map').dataset.frames) > {frames + 8}")
        then = await tab.look(PIXELS)
        await tab.photograph(tmp_path / "console.png")
        if kept := os.environ.get("MILEPOST_PICTURES"):
            shutil.copy(tmp_path / "console.png", kept)
        for seen in (first, then):
            # The network is lines all over the map; vehicles are some dozens of small marks, and they are on roads.
            assert seen["road"] > 10_000
            assert seen["car"] > 300
            assert seen["onRoad"] / seen["car"] > 0.6
        assert first["where"] != then["where"], "nothing moves"
        assert first["road"] == then["road"]

        # The gateway dies, and comes back at its address: the page goes on by itself.
        await stack.restarted("gateway", stack.kill("gateway"))
        frames = int(await tab.look("document.getElementById('map').dataset.frames"))
        await until(tab, f"Number(document.getElementById('map').dataset.frames) > {frames + 8}")
        await until(tab, "document.getElementById('map').dataset.live === 'live'")
        await until(tab, "document.getElementById('trouble').hidden")

        await stack.client.sessions.cancel(session.session_id)
        await until(tab, "document.getElementById('state').dataset.state === 'CANCELLED'")
        await until(tab, "document.getElementById('map').dataset.live === 'ended'")
        await until(tab, "document.querySelector('#sessions .state').textContent === 'cancelled'")
        assert (await tab.look(PIXELS))["car"] == 0

        # An address that leads nowhere says so, and shows nothing of the one before.
        await tab.look("location.hash = '#nobody'")
        await until(tab, "document.getElementById('trouble').textContent.includes('SESSION_NOT_FOUND')")
        assert await tab.look("document.getElementById('session').hidden")
        # What Chromium says of our own looking at pixels, and of the gateway's death, is no fault of the page.
        expected = ("willReadFrequently", "net::ERR_")
        assert [said for said in tab.complaints if not any(words in said for words in expected)] == []
        assert all(address.startswith((gateway, "data:")) for address in tab.requests)


async def test_the_console_asks_strangers_for_a_token(tmp_path: Path) -> None:
    if not (CONSOLE / "index.html").exists():
        pytest.skip("the console is not built here: make console")
    environment = {"MILEPOST_AUTH_SHARED_KEY": KEY}
    async with (
        running_stack(tmp_path / "stack", gateway=True, environment=environment) as stack,
        browsing(tmp_path) as tab,
    ):
        await tab.visit(f"http://{stack.ready['gateway']}")
        await until(tab, "!document.getElementById('sign-in').hidden")
        said = {"sub": "ada", "tenant": "north", "exp": int(time.time()) + 600}
        token = jwt.encode(said, KEY, algorithm="HS256")
        await tab.look(f"document.querySelector('[name=token]').value = '{token}'")
        await tab.look("document.querySelector('#sign-in button').click()")
        await until(tab, "!document.getElementById('no-sessions').hidden")
        assert await tab.look("document.getElementById('sign-in').hidden")
        assert await tab.look("document.getElementById('trouble').hidden")
