"""What is planned for a fork: its parent's past stays, what comes after may be another."""

from milepost.session.v1.session_pb2 import PlannedIntervention, SessionSpec
from milepost.session.v1.session_service_pb2 import ForkSessionRequest
from runtime.errors import FieldViolation
from session_api.application.places import Place
from session_api.application.refusals import fields_invalid
from session_api.application.task import MAX_PLANNED_BYTES
from session_log.planned import in_order, step_of

# As many as a session may have.
_MAX_PLANNED = 2000


def plan_from(place: Place, request: ForkSessionRequest, spec: SessionSpec) -> None:
    """Put into `spec`, which has its parent's plan, what the request says. Raises CallRefused(FIELD_INVALID).

    What the place holds of the parent's plan stays first, so that whoever has applied that much can go on.
    """
    asked = request.planned_interventions
    if not asked and not request.replan:
        return
    early = [
        FieldViolation(
            f"planned_interventions[{index}].at_time_s",
            f"is before the fork, {place.sim_time_s:g} s; what comes before is the past",
        )
        for index, planned in enumerate(asked)
        if step_of(planned, place.past.scene) < place.step
    ]
    if early:
        raise fields_invalid(early)
    planned = in_order(spec.interventions)[: place.planned_length]
    for one in in_order(asked):
        planned.append(one)
        if one.at_time_s < place.sim_time_s:
            # Between two steps, the second of which is the fork: behind what was applied there already.
            planned[-1] = PlannedIntervention(at_time_s=place.sim_time_s, intervention=one.intervention)
    if len(planned) > _MAX_PLANNED or sum(one.ByteSize() for one in planned) > MAX_PLANNED_BYTES:
        words = f"with those before the fork are more than {_MAX_PLANNED}, or than {MAX_PLANNED_BYTES} bytes"
        raise fields_invalid([FieldViolation("planned_interventions", words)])
    del spec.interventions[:]
    spec.interventions.extend(planned)
