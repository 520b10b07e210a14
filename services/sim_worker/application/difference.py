"""What two records differ in, in words."""

from google.protobuf.json_format import MessageToDict

from milepost.event.v1.event_pb2 import Event
from session_log.codec import event_kind, payload_of, record_payload
from sim_worker.application.comparable import NOT_COMPARED
from sim_worker.domain.judge import Simulated

_MAX_FIELDS = 3
_KPIS = "kpis."
_APPROXIMATE = f"{_KPIS}approximate_trips"


def difference(recorded: Event | None, computed: Simulated) -> str:
    """One sentence; `recorded` is None when the log holds nothing there."""
    if recorded is None:
        return f"step {computed.step}: a record the log does not hold"
    if event_kind(recorded) != computed.kind or recorded.step != computed.step:
        return (
            f"step {computed.step}: another record than the log's {recorded.WhichOneof('payload')} at {recorded.step}"
        )
    if payload_of(recorded) == computed.payload:
        return f"step {computed.step}: simulated time {computed.sim_time_s} instead of {recorded.sim_time_s}"
    payload = record_payload(computed.kind, computed.payload)
    ours = _flat(MessageToDict(payload, preserving_proto_field_name=True))
    theirs = _flat(
        MessageToDict(getattr(recorded, recorded.WhichOneof("payload") or ""), preserving_proto_field_name=True)
    )
    fields = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    if _APPROXIMATE in ours or _APPROXIMATE in theirs:
        fields = [name for name in fields if name.removeprefix(_KPIS) not in NOT_COMPARED]
    # The digest differs whenever anything does: it is worth naming only alone.
    telling = [name for name in fields if not name.endswith("digest")] or fields
    words = [f"{name} {ours.get(name)} instead of {theirs.get(name)}" for name in telling[:_MAX_FIELDS]]
    return f"step {computed.step}: {', '.join(words)}"


def _flat(form: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(form, dict):
        return {prefix: form}
    flat: dict[str, object] = {}
    for name, value in form.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat
