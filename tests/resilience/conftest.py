"""Fixtures: a connection that appends to the logs of sessions nobody simulates."""

from collections.abc import AsyncIterator

import pytest
from nats.js import JetStreamContext

from broker import Broker
from runtime.broker import connect, ensure_streams, jetstream


@pytest.fixture
async def js(broker: Broker) -> AsyncIterator[JetStreamContext]:
    """As a worker's."""
    client = await connect(broker.url, name="test", appends=True)
    context = jetstream(client)
    await ensure_streams(context)
    yield context
    await client.close()
