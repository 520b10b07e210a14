"""Golden wire vectors: messages whose bytes and JSON stand in golden/, and what every language must make of them.

For each vector there is `<name>.binpb` and `<name>.json` (proto3 JSON, the contract's field names); index.json says
which message it is. Those of Golden have `<name>.values.json` besides: what conformance.proto says of Decoded.values.
"""

import base64
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from conformance.messages import pb
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.event_service_pb2 import WatchEventsResponse
from milepost.session.v1.session_pb2 import Session
from milepost.session.v1.session_service_pb2 import CreateSessionRequest

FOLDER = Path(__file__).with_name("golden")
TYPES: dict[str, type[Message]] = {
    made.DESCRIPTOR.full_name: made for made in (pb.Golden, Event, Session, CreateSessionRequest, WatchEventsResponse)
}


def names() -> dict[str, str]:
    """The vectors and their message types."""
    found: dict[str, str] = json.loads((FOLDER / "index.json").read_text())
    return found


def request_of(wish: dict[str, str]) -> dict[str, str]:
    """A Decode, in proto3 JSON, of a vector in one of its forms."""
    name, form = wish["vector"], wish["form"]
    request = {"message_type": names()[name]}
    if form == "json":
        return request | {"json": (FOLDER / f"{name}.json").read_text()}
    return request | {"encoded": base64.b64encode((FOLDER / f"{name}.binpb").read_bytes()).decode()}


def fault_of(request: dict[str, Any], answer: pb.Decoded) -> str:
    """What is wrong with what a driver made of a vector; empty: nothing."""
    name = request["vector"]
    message_type = TYPES[names()[name]]
    expected = message_type.FromString((FOLDER / f"{name}.binpb").read_bytes())
    if canonical(message_type.FromString(answer.encoded)) != canonical(expected):
        return f"{name}: encoded again it is another message"
    if answer.json and canonical(_parsed(answer.json, message_type())) != canonical(expected):
        return f"{name}: its JSON is that of another message"
    if message_type is pb.Golden:
        wanted = json.loads((FOLDER / f"{name}.values.json").read_text())
        told = dict(answer.values)
        for field in sorted(wanted.keys() | told.keys()):
            if _one_nan(wanted.get(field, "")) != _one_nan(told.get(field, "")):
                return f"{name}: {field} is {told.get(field)!r}, not {wanted.get(field)!r}"
    return ""


def _parsed(text: str, message: Message) -> Message:
    # Python would read -0 as the integer, which has no sign.
    said = json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
    return json_format.ParseDict(said, message)


def canonical(message: Message) -> bytes:
    """Bytes that are equal when messages are: NaN does not equal itself, and maps have no order of their own."""
    if isinstance(message, pb.Golden):
        for field in ("float_value", "double_value"):
            if math.isnan(getattr(message, field)):
                setattr(message, field, math.nan)
        for place, value in enumerate(message.double_list):
            if math.isnan(value):
                message.double_list[place] = math.nan
    return message.SerializeToString(deterministic=True)


def _one_nan(told: str) -> str:
    """The same with every NaN written as one: languages choose its bits."""
    double = re.sub(r"\b[7f]ff(?!0{13})[0-9a-f]{13}\b", "NaN", told)
    return re.sub(r"^[7f]f[89a-f](?!0{5})[0-9a-f]{5}$", "NaN", double)


def values_of(message: pb.Golden) -> dict[str, str]:
    """Decoded.values, as conformance.proto defines them."""
    told: dict[str, str] = {}
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            key, inner = (field.message_type.fields_by_name[part] for part in ("key", "value"))
            pairs = (f"{_text(key, k)}={_text(inner, v)}" for k, v in value.items())
            told[field.name] = ",".join(sorted(pairs))
        elif field.is_repeated:
            told[field.name] = ",".join(_text(field, one) for one in value)
        elif field.name != "event_choice":
            told[field.name] = _text(field, value)
    choice = message.WhichOneof("choice")
    return told | ({"choice": choice} if choice else {})


def _text(field: Any, value: Any) -> str:
    match field.type:
        case field.TYPE_DOUBLE:
            return struct.pack(">d", value).hex()
        case field.TYPE_FLOAT:
            return struct.pack(">f", value).hex()
        case field.TYPE_STRING:
            return str(value.encode().hex())
        case field.TYPE_BYTES:
            return str(value.hex())
        case field.TYPE_BOOL:
            return "true" if value else "false"
        case field.TYPE_MESSAGE:
            return f"{value.seconds}.{value.nanos}"
    return str(value)
