"""Looks at an outcome: does it show what the case expects?"""

import json
from typing import Any

import grpc
from google.protobuf import json_format

from conformance import golden
from conformance.cases import CaseStep, Variables
from conformance.match import mismatch
from conformance.messages import pb
from conformance.stacks import Stage
from milepost.event.v1.event_pb2 import Event


async def fault_of(step: CaseStep, outcome: pb.Outcome, variables: Variables, stage: Stage) -> str:
    """What is wrong with an outcome, in words; empty: nothing. Keeps what the step saves."""
    kind = outcome.WhichOneof("result")
    refused = variables.fill(step.words.get("refused", {}))
    if kind == "error":
        said = json_format.MessageToDict(outcome.error, preserving_proto_field_name=True)
        said["code"] = code_name(outcome.error.code)
        return mismatch(refused, said) if refused else f"refused: {_words(outcome.error)}"
    if refused:
        return f"not refused, though it should be with {refused}"
    if kind != step.action:
        return f"the outcome is {kind!r}"
    answer = getattr(outcome, step.action)
    form = json_form(answer)
    if isinstance(form.get("error"), dict) and step.action == "watch":
        form["error"]["code"] = code_name(answer.error.code)
    fault = _unexpected_end(step, answer)
    fault = fault or mismatch(variables.fill(step.words.get("expect", {})), form)
    if not fault and step.action == "watch":
        fault = await _fault_of_watch(step, answer, variables, stage)
    if not fault and step.words.get("judge") == "golden":
        fault = golden.fault_of(variables.fill(step.request), answer)
    if not fault:
        variables.save(step.words.get("save", {}), form)
    return fault


def json_form(message: Any) -> dict[str, Any]:
    """A message as JSON with the contract's field names."""
    made: dict[str, Any] = json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))
    return made


def code_name(code: int) -> str:
    """The name of a gRPC status."""
    return next((it.name for it in grpc.StatusCode if it.value[0] == code), str(code))


def _unexpected_end(step: CaseStep, answer: Any) -> str:
    if step.action != "watch" or not answer.HasField("error") or step.words.get("expect", {}).get("error"):
        return ""
    return f"ended after {len(answer.seqs)} events: {_words(answer.error)}"


async def _fault_of_watch(step: CaseStep, seen: pb.Watched, variables: Variables, stage: Stage) -> str:
    request = variables.fill(step.request)["request"]
    if step.words.get("log") != "whole":
        return ""
    after = int(request.get("after_seq", 0))
    stored: list[Event] = [event async for event in stage.client.events.read(request["session_id"], cursor=after)]
    expected = stored[: len(seen.seqs)] if not seen.HasField("terminal") else stored
    if list(seen.seqs) != [event.seq for event in expected]:
        return f"not every event once and in order: {_first_difference(list(seen.seqs), after)}"
    if list(seen.kinds) != [_kind(event) for event in expected]:
        return "the kinds of the events are not those of the log"
    if seen.events and list(seen.events) != expected:
        return "the events are not those of the log"
    return ""


def _kind(event: Event) -> int:
    payload = event.WhichOneof("payload")
    return event.DESCRIPTOR.fields_by_name[payload].number if payload else 0


def _first_difference(seqs: list[int], after: int) -> str:
    for place, seq in enumerate(seqs):
        if seq != after + place + 1:
            return f"{after + place + 1} is missing, {seqs[max(0, place - 2) : place + 3]} were seen"
    return f"it ends at {seqs[-1] if seqs else after}"


def _words(error: pb.Error) -> str:
    fields = "; ".join(f"{it.field}: {it.description}" for it in error.field_violations)
    return f"{code_name(error.code)}/{error.reason}: {error.message} {fields}".strip()
