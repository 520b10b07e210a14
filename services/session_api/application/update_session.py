"""Update: names, labels, limits and the checkpoint policy always; the task where no worker has the session."""

from dataclasses import dataclass

from milepost.errors.v1 import errors_pb2
from milepost.event.v1.event_pb2 import CommandRequested, Label, SessionUpdated, UpdateCommand
from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import Session, SessionSpec
from milepost.session.v1.session_service_pb2 import CreateSessionRequest, UpdateSessionRequest
from runtime.errors import CallRefused
from runtime.grpc_calls import validate
from session_api.application.append_command import AppendCommand, Caller, Follow, done
from session_api.application.delete_scenario import no_scenario
from session_api.application.places import Places
from session_api.application.refusals import field_invalid
from session_api.application.task import check_spec, resolve_scene
from session_api.gateways.scenarios_sql import Scenarios
from session_api.gateways.session_resource import etag
from session_log.domain.lifecycle import Verb
from session_log.facts import verb_of
from session_log.reader import LogSoFar

NAMES = ("display_name", "labels")
"""Fields beside the spec."""

FIELDS = (*NAMES, *(f"spec.{name}" for name in ("limits", "checkpoints", "end_time_s", "stop_when_empty")))
FIELDS += ("spec.goal", "spec.seed", "spec.options")
"""What can be changed."""

_PREFIX = "spec."


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """Any state; the state stays."""

    append: AppendCommand
    places: Places
    scenarios: Scenarios

    async def __call__(self, caller: Caller, request: UpdateSessionRequest) -> Session:
        """The session after the change.

        Raises as AppendCommand, and CallRefused: ETAG_MISMATCH, FIELD_INVALID.
        """
        mask = sorted(set(request.update_mask.paths))
        for path in mask or [""]:
            if path not in FIELDS:
                raise field_invalid("update_mask", f"{path!r} is none of {', '.join(FIELDS)}")
        command = CommandRequested(update=_asked(request, mask))

        async def decide(log: LogSoFar) -> Follow:
            _require_etag(request, log)
            updated = _updated(log, command.update)
            updated.command_id = command.command_id
            if verb_of(command) is Verb.UPDATE_TASK:
                updated.scene.CopyFrom(await self._scene(caller.tenant, request.session_id, log, updated.spec))
            return done(command, updated)

        return await self.append.session(caller, await self.append(caller, request.session_id, command, decide))

    async def _scene(self, tenant: str, session_id: str, log: LogSoFar, spec: SessionSpec) -> Scene:
        """What is run after the change: a run that has begun keeps its options, its end alone moves."""
        scenario = await self.scenarios.get(tenant, spec.scenario_digest)
        if scenario is None:
            raise no_scenario(spec.scenario_digest)
        check_spec(spec, scenario.scene)
        resolved = resolve_scene(spec, scenario.scene)
        past = await self.places.past(tenant, session_id, log)
        if not past.recorded and not past.begin_step:
            return resolved
        kept = Scene()
        kept.CopyFrom(past.scene)
        kept.ClearField("end_time_s")
        if resolved.HasField("end_time_s"):
            kept.end_time_s = resolved.end_time_s
        return kept


def _asked(request: UpdateSessionRequest, mask: list[str]) -> UpdateCommand:
    """The command: fields of the mask alone, so that equal wishes are equal bytes. Raises FIELD_INVALID."""
    asked = UpdateCommand(update_mask=mask)
    if "display_name" in mask:
        asked.display_name = request.display_name
    if "labels" in mask:
        asked.labels.extend(Label(key=key, value=value) for key, value in sorted(request.labels.items()))
    for path in mask:
        if path.startswith(_PREFIX):
            _take(asked.spec, request.spec, path.removeprefix(_PREFIX))
    # The rules stand in the proto, at the request that creates: the digest is that of nothing.
    judged = CreateSessionRequest(spec=asked.spec, display_name=asked.display_name)
    judged.labels.update({label.key: label.value for label in asked.labels})
    judged.spec.scenario_digest = "0" * 64
    validate(judged)
    return asked


def _updated(log: LogSoFar, asked: UpdateCommand) -> SessionUpdated:
    updated = SessionUpdated()
    updated.CopyFrom(log.wish)
    if "display_name" in asked.update_mask:
        updated.display_name = asked.display_name
    if "labels" in asked.update_mask:
        del updated.labels[:]
        updated.labels.extend(asked.labels)
    for path in asked.update_mask:
        if path.startswith(_PREFIX):
            _take(updated.spec, asked.spec, path.removeprefix(_PREFIX))
    return updated


def _take(into: SessionSpec, source: SessionSpec, name: str) -> None:
    """Make one field of `into` what it is in `source`, unset included."""
    only = SessionSpec()
    only.CopyFrom(source)
    for field, _ in source.ListFields():
        if field.name != name:
            only.ClearField(field.name)  # type: ignore[arg-type]
    into.ClearField(name)  # type: ignore[arg-type]
    into.MergeFrom(only)


def _require_etag(request: UpdateSessionRequest, log: LogSoFar) -> None:
    now = etag(request.session_id, next(reversed(log.life.commands), None))
    if request.etag and request.etag != now:
        raise CallRefused(
            errors_pb2.ERROR_REASON_ETAG_MISMATCH,
            "the session has changed since it was read",
            metadata={"etag": now},
        )
