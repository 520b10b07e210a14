"""What a study begins with: a scenario, a template, or what happened in a session up to a place."""

from dataclasses import dataclass, field
from typing import Final

from milepost.session.v1.session_pb2 import PlannedIntervention, SessionSpec
from milepost.study.v1.study_pb2 import StudyBase, StudySpec
from runtime.errors import FieldViolation
from session_api.application.places import Place, Places, time_at
from session_api.application.refusals import fields_invalid, not_found
from session_api.application.study.patches import merged_patches
from session_log.reader import LogReader, UnknownSession

# Of the session a study begins with: what belongs to that one run, and not to what it simulates.
_OWN_OF_A_RUN: Final = (
    "seed",
    "scheduling",
    "limits",
    "pace",
    "start_paused",
    "checkpoints",
    "linger_s",
    "goal",
    "messages",
)


@dataclass(frozen=True, slots=True)
class StudyTask:
    """The base, as far as variants need it."""

    base: StudyBase
    """A scenario or a template."""
    session: SessionSpec = field(default_factory=SessionSpec)
    """What sessions are created with before anything of the study is added."""
    from_s: float | None = None
    """Variants may only intervene from here on, simulated s."""


@dataclass(frozen=True, slots=True)
class FindBase:
    """Looks the base up."""

    reader: LogReader
    places: Places

    async def __call__(self, tenant: str, spec: StudySpec) -> StudyTask:
        """Raises CallRefused: SESSION_NOT_FOUND, CHECKPOINT_NOT_FOUND, TIME_NOT_REACHED, FIELD_INVALID."""
        if spec.base.WhichOneof("from") != "session":
            return StudyTask(spec.base)
        asked = spec.base.session
        try:
            log = await self.reader.read(tenant, asked.session_id)
        except UnknownSession as unknown:
            raise not_found(asked.session_id) from unknown
        if asked.WhichOneof("at") == "checkpoint_id":
            place = await self.places.checkpoint(tenant, asked.session_id, log, asked.checkpoint_id)
        else:
            place = await self.places.at_time(tenant, asked.session_id, log, asked.sim_time_s)
        violations = [
            FieldViolation(f"spec.variants[{index}].patch", "may only intervene: the study begins within a session")
            for index, patch in enumerate(merged_patches(spec.variants))
            if patch.options or patch.parameters or patch.files
        ]
        if violations:
            raise fields_invalid(violations)
        return StudyTask(
            StudyBase(scenario_digest=place.past.scene.scenario_digest), _session(place), from_s=place.sim_time_s
        )


def _session(place: Place) -> SessionSpec:
    """The past up to a place as something to be planned: its interventions at their times."""
    past = place.past
    session = SessionSpec()
    session.CopyFrom(past.spec)
    for name in _OWN_OF_A_RUN:
        session.ClearField(name)
    planned = [one for one in past.spec.interventions if one.at_time_s <= place.sim_time_s]
    happened = [
        PlannedIntervention(at_time_s=time_at(past.scene, entry.step), intervention=entry.intervention)
        for entry in past.journal[: place.journal_length]
    ]
    del session.interventions[:]
    session.interventions.extend(sorted([*planned, *happened], key=lambda one: one.at_time_s))
    return session
