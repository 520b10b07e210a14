"""Traces are off unless the standard variables ask for them; off, nothing is made and nothing is loaded."""

import subprocess
import sys

import pytest

from runtime import traces
from session_log.codec import BatchHeaders


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], *, wanted: bool) -> None:
    assert traces.wanted(environment) is wanted


def test_while_off_there_is_nothing_to_say_and_headers_are_what_they_were() -> None:
    with traces.span("any") as span:
        assert not span.is_recording()
        assert traces.current() == ""
        assert traces.headers() is None
    assert traces.happened("any", parent="", since_ns=0) == ""
    plain = {"Milepost-First-Seq": "1", "Milepost-Run": "1", "Milepost-Attempt": "0", "Milepost-Nonce": "n"}
    plain["Milepost-Record-Time"] = "2026-01-01T00:00:00+00:00"
    assert BatchHeaders.decode(plain).encode() == plain


def test_while_off_no_service_loads_the_sdk() -> None:
    words = (
        "import session_api.main, event_store.main, sim_worker.main, milepost.client, sys; print(sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True).stdout
    assert "opentelemetry.sdk.trace" not in loaded
    assert "opentelemetry.exporter" not in loaded
