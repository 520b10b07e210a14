"""Messages as JSON for programs: the proto3 JSON form, with the contracts' own field names.

So 64-bit integers are strings, bytes are base64, enums are their names, and any protobuf library parses a line
back. Fields are written also when they hold their default; a session has `results` and `failure` always, null
when there are none.
"""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from milepost.session.v1.session_pb2 import Session


def json_line(message: Message) -> str:
    """A message as one line of JSON."""
    return json.dumps(form_of(message), ensure_ascii=False)


def form_of(message: Message) -> dict[str, Any]:
    """A message as what `json` writes."""
    form: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    if isinstance(message, Session):
        form = {**form, "results": form.get("results"), "failure": form.get("failure")}
    return form
