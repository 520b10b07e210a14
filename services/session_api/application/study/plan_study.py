"""From what was asked for to what is run: every variant resolved, and refused by its field, before anything runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.scenario.v1.scenario_pb2 import Scene
from milepost.session.v1.session_pb2 import MessagesKept, SessionSpec, WorkClass
from milepost.study.v1.study_pb2 import ResolvedVariant, StudyPlan, StudySpec
from runtime.errors import CallRefused, FieldViolation
from runtime.grpc_calls import validate
from session_api.application.refusals import fields_invalid
from session_api.application.study.cell_key import version_of
from session_api.application.study.check_interventions import CheckInterventions
from session_api.application.study.check_study import check_study
from session_api.application.study.patches import MergedPatch, merged_options, merged_patches
from session_api.application.study.study_base import FindBase, StudyTask
from session_api.application.study.warm_ups import shared_warm_ups
from session_api.application.task import check_spec, resolve_scene, with_defaults
from session_api.application.variant_scenarios import Made, VariantScenario, VariantScenarios, Wanted

# Steps per interval of cells that say nothing, and how many intervals are enough for a curve: nobody watches thousands
# of cells from ten seconds to ten seconds, and each interval costs its digest and its event.
INTERVAL_STEPS = (60, 120, 300, 600, 900, 1800, 3600)
ENOUGH_INTERVALS = 40
# More of them would not fit into an error's trailers.
MAX_VIOLATIONS = 20


@dataclass(frozen=True, slots=True)
class PlanStudy:
    """Checks and resolves; stores the scenarios that variants make, at the end, and nothing else."""

    variant_scenarios: VariantScenarios
    find_base: FindBase
    check_interventions: CheckInterventions
    pool: str

    async def __call__(self, tenant: str, spec: StudySpec, *, owner: str = "", keep: bool = True) -> StudyPlan:
        """What to run. The scenarios of variants are stored once all is well, and with `keep` only.

        Raises CallRefused, as CreateStudy says, with all that is wrong.
        """
        violations = check_study(spec)
        refuse_if_any(violations)
        task = await self.find_base(tenant, spec)
        patches = merged_patches(spec.variants)
        made = await self._scenarios(tenant, task, patches, owner, keep=False)
        violations += made.violations
        refuse_if_any(violations)
        if made.template_version:
            spec.base.template.version = made.template_version
        specs, scenes = list[SessionSpec](), list[Scene]()
        for index, patch in enumerate(patches):
            own = _session(spec, task, made.scenarios[index], patch)
            scene = made.scenarios[index].scene
            violations += _checked(own, scene, index)
            specs.append(own)
            scenes.append(scene if violations else resolve_scene(own, scene))
        violations += _measured(spec, scenes)
        refuse_if_any(violations)
        if not (task.session.interval_steps or spec.session.interval_steps):
            for own in specs:
                own.interval_steps = interval_steps(scenes)
        refuse_if_any(await self.check_interventions(spec, made.scenarios, scenes, earliest_s=task.from_s))
        if keep:
            await self._scenarios(tenant, task, patches, owner, keep=True)
        pool = spec.session.scheduling.pool or self.pool
        shares = not spec.design.no_shared_warm_up
        groups, until = shared_warm_ups(specs, scenes) if shares else ([0] * len(specs), [])
        return StudyPlan(
            spec=spec,
            variants=[
                ResolvedVariant(
                    name=spec.variants[index].name,
                    lineage=patch.lineage,
                    version=version_of(specs[index], scenes[index], pool),
                    session=specs[index],
                    end_time_s=scenes[index].end_time_s if scenes[index].HasField("end_time_s") else None,
                )
                for index, patch in enumerate(patches)
            ],
            seeds=sorted(spec.seeds),
            warm_up_groups=groups if any(groups) else [],
            warm_up_until_s=until,
            pool=pool,
        )

    async def _scenarios(
        self, tenant: str, task: StudyTask, patches: Sequence[MergedPatch], owner: str, *, keep: bool
    ) -> Made:
        """Each variant's scenario, or what is wrong with it."""
        wanted = [
            Wanted(f"spec.variants[{index}].patch", patch.parameters, list(patch.files.values()))
            for index, patch in enumerate(patches)
        ]
        return await self.variant_scenarios(tenant, task.base, wanted, owner=owner, keep=keep)


def _session(spec: StudySpec, task: StudyTask, made: VariantScenario, patch: MergedPatch) -> SessionSpec:
    """What a variant's sessions are created with, but the seed."""
    own = SessionSpec()
    own.CopyFrom(task.session)
    shared = SessionSpec()
    shared.CopyFrom(spec.session)
    filled = {one.name: one.value for one in made.options}
    common = {one.name: one.value for one in shared.options}
    shared.ClearField("options")
    own.MergeFrom(shared)
    merged = merged_options(task.session.options, common, filled, patch.options)
    del own.options[:]
    own.options.extend(merged)
    own.scenario_digest = made.digest
    own.scheduling.work_class = own.scheduling.work_class or WorkClass.WORK_CLASS_BATCH
    own.messages = own.messages or MessagesKept.MESSAGES_KEPT_NOTEWORTHY
    own.interventions.extend(patch.interventions)
    own.interventions.sort(key=lambda one: one.at_time_s)
    return with_defaults(own)


def interval_steps(scenes: Sequence[Scene]) -> int:
    """Steps per interval, the same for all variants: as few as still are enough intervals for the longest run."""
    ends = [scene for scene in scenes if scene.HasField("end_time_s") and scene.step_length_s]
    longest = max(((one.end_time_s - one.begin_time_s) / one.step_length_s for one in ends), default=0.0)
    return next((steps for steps in INTERVAL_STEPS if longest <= steps * ENOUGH_INTERVALS), INTERVAL_STEPS[-1])


def _checked(own: SessionSpec, scene: Scene, index: int) -> list[FieldViolation]:
    """What a session of the variant would be refused for."""
    try:
        validate(own)
        check_spec(own, scene)
    except CallRefused as refused:
        return [
            FieldViolation(_path(one.field, index), f"{one.description}")
            for one in refused.violations or [FieldViolation("spec", refused.message)]
        ]
    return []


def _measured(spec: StudySpec, scenes: Sequence[Scene]) -> list[FieldViolation]:
    """What is wrong with the phase that is measured: a run that ends before it would have no value."""
    phases = list(spec.session.plan)
    names = [phase.name for phase in phases]
    if not spec.objective.phase:
        return []
    over_s = sum(phase.duration_s for phase in phases[: names.index(spec.objective.phase) + 1])
    return [
        FieldViolation(
            "spec.objective.phase", f"ends after {over_s:g} s, the runs of {variant.name!r} do after {run_s:g} s"
        )
        for variant, scene in zip(spec.variants, scenes, strict=True)
        if scene.HasField("end_time_s") and (run_s := scene.end_time_s - scene.begin_time_s) < over_s
    ][:1]


def _path(field_name: str, index: int) -> str:
    """Where in the study a field of a session's spec comes from."""
    plain = field_name.removeprefix("spec.")
    if plain.startswith(("options", "interventions")):
        return f"spec.variants[{index}].patch.{plain}"
    return f"spec.session.{plain}"


def refuse_if_any(violations: Sequence[FieldViolation]) -> None:
    """Raise CallRefused(FIELD_INVALID) with the first of them, each once."""
    if violations:
        found = list(dict.fromkeys(violations))
        counted = Counter(one.field for one in found)
        listed = found[:MAX_VIOLATIONS]
        refused = fields_invalid(listed)
        if len(found) > len(listed):
            refused.message += f" (and {len(found) - len(listed)} more, in {len(counted)} fields)"
        raise refused
