"""The messages of golden/: edge values of every type of field, and messages of the product that are full of things.

PYTHONPATH=tests:clients python -m conformance.golden_messages      makes golden/ anew
"""

import json
import math
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from conformance.golden import FOLDER, canonical, values_of
from conformance.messages import pb
from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy
from milepost.event.v1.event_pb2 import Event, IntervalClosed
from milepost.event.v1.event_service_pb2 import EventList, Heartbeat, WatchEventsResponse
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import KpiGoal, KpiName, Progress, Session, SessionSpec, SessionState
from milepost.session.v1.session_service_pb2 import CreateSessionRequest

INT64_MAX, INT64_MIN, UINT64_MAX = 2**63 - 1, -(2**63), 2**64 - 1
# The first whole number that no double holds.
BEYOND_DOUBLE = 2**53 + 1
WORDS = "Grüße aus Łódź, 東京, שלום, 🚦🏳️‍🌈 e\u0301 \u0000 \u2028 \ufeff"
KPIS = Kpis(loaded=INT64_MAX, departed=BEYOND_DOUBLE, running=3, mean_speed_mps=-1, mean_travel_time_s=0.1 + 0.2)


def messages() -> dict[str, Message]:
    """All vectors by name."""
    return {**_golden(), **_product()}


def _golden() -> dict[str, Message]:
    return {
        "empty": pb.Golden(),
        "greatest": pb.Golden(
            int32_value=2**31 - 1,
            int64_value=INT64_MAX,
            uint32_value=2**32 - 1,
            uint64_value=UINT64_MAX,
            sint32_value=2**31 - 1,
            sint64_value=INT64_MAX,
            fixed32_value=2**32 - 1,
            fixed64_value=UINT64_MAX,
            sfixed64_value=INT64_MAX,
            float_value=3.4028232635611926e38,
            double_value=1.7976931348623157e308,
            bool_value=True,
            timestamp_value=Timestamp(seconds=253402300799, nanos=999999999),
            duration_value=Duration(seconds=315576000000, nanos=999999999),
        ),
        "least": pb.Golden(
            int32_value=-(2**31),
            int64_value=INT64_MIN,
            sint32_value=-(2**31),
            sint64_value=INT64_MIN,
            sfixed64_value=INT64_MIN,
            float_value=-3.4028232635611926e38,
            double_value=-1.7976931348623157e308,
            timestamp_value=Timestamp(seconds=-62135596800),
            duration_value=Duration(seconds=-315576000000, nanos=-999999999),
        ),
        "beyond_double": pb.Golden(
            int64_value=BEYOND_DOUBLE,
            uint64_value=BEYOND_DOUBLE,
            sint64_value=-BEYOND_DOUBLE,
            fixed64_value=2**63 + 1,
            int64_list=[BEYOND_DOUBLE, -BEYOND_DOUBLE, INT64_MAX, INT64_MIN, 0, -1],
            string_by_uint64={UINT64_MAX: "greatest", BEYOND_DOUBLE: "odd", 0: "zero"},
            int64_by_string={"greatest": INT64_MAX, "least": INT64_MIN, "": BEYOND_DOUBLE},
        ),
        "not_a_number": pb.Golden(
            float_value=math.nan,
            double_value=math.nan,
            double_list=[math.nan, math.inf, -math.inf, 0.0, 5e-324, 0.1 + 0.2, 2.2250738585072014e-308],
        ),
        "infinite": pb.Golden(float_value=-math.inf, double_value=math.inf),
        "minus_zero": pb.Golden(float_value=-0.0, double_value=-0.0, double_list=[-0.0]),
        "smallest": pb.Golden(float_value=1e-45, double_value=5e-324, duration_value=Duration(nanos=-1)),
        "words": pb.Golden(
            string_value=WORDS,
            bytes_value=bytes(range(256)),
            string_list=["", WORDS, "\U0010ffff", "a" * 300],
            int64_by_string={WORDS: 1, "ключ": 2},
            text_choice=WORDS,
        ),
        "present_zero": pb.Golden(present_int64=0, int64_choice=0),
        "enum_of_later": pb.Golden(enum_value=999),
        "chosen_event": pb.Golden(event_choice=_event()),
    }


def _product() -> dict[str, Message]:
    spec = SessionSpec(
        scenario_digest="0" * 64,
        seed=2**31 - 1,
        end_time_s=1e9,
        goal=KpiGoal(kpi=KpiName.KPI_NAME_ARRIVED, at_least=5e-324),
        options=[SumoOption(name="time-to-teleport", value="-1")],
        checkpoints=CheckpointPolicy(every_sim_s=0.1 + 0.2, keep_last=3),
        pace=1e6,
    )
    return {
        "event": _event(),
        "watch_events": WatchEventsResponse(events=EventList(events=[_event(), Event(seq=INT64_MAX)])),
        "watch_heartbeat": WatchEventsResponse(
            heartbeat=Heartbeat(sent_seq=BEYOND_DOUBLE, stored_head_seq=INT64_MAX, ingest_lag=Duration(nanos=1))
        ),
        "create_session": CreateSessionRequest(
            request_id="8c7f5d3e-0000-4000-8000-000000000001",
            display_name=WORDS.replace("\0", ""),
            labels={"ort": "Łódź", "": "", "🚗": "x" * 255},
            spec=spec,
            wait_for_quota=True,
        ),
        "session": Session(
            session_id="rush",
            state=SessionState.SESSION_STATE_RUNNING,
            seq=BEYOND_DOUBLE,
            spec=spec,
            progress=Progress(step=INT64_MAX, sim_time_s=0.1 + 0.2, kpis=KPIS, end_time_s=0),
            create_time=Timestamp(seconds=1, nanos=1),
        ),
    }


def _event() -> Event:
    return Event(
        session_id="rush",
        seq=BEYOND_DOUBLE,
        run=1,
        attempt=2,
        step=INT64_MAX,
        sim_time_s=0.1 + 0.2,
        record_time=Timestamp(seconds=1_700_000_000, nanos=123_456_789),
        interval_closed=IntervalClosed(kpis=KPIS, state_digest=bytes(range(16))),
    )


def main() -> None:
    """Write golden/ anew."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.iterdir():
        stale.unlink()
    index = {}
    for name, message in messages().items():
        index[name] = message.DESCRIPTOR.full_name
        (FOLDER / f"{name}.binpb").write_bytes(canonical(message))
        (FOLDER / f"{name}.json").write_text(
            json_format.MessageToJson(message, preserving_proto_field_name=True, sort_keys=True, ensure_ascii=False)
            + "\n"
        )
        if isinstance(message, pb.Golden):
            _write(FOLDER / f"{name}.values.json", values_of(message))
    _write(FOLDER / "index.json", index)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
