"""What each variant's patch adds up to: its parents' first, then its own. Later wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.struct_pb2 import Value

from milepost.scenario.v1.scenario_pb2 import ScenarioFile, SumoOption
from milepost.session.v1.session_pb2 import PlannedIntervention
from milepost.study.v1.study_pb2 import Variant

ParameterValue = float | str | bool


@dataclass(frozen=True, slots=True)
class MergedPatch:
    """All that a variant changes of the base."""

    lineage: Sequence[str] = ()
    """Its parents, the base's child first."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    interventions: Sequence[PlannedIntervention] = ()
    files: Mapping[str, ScenarioFile] = field(default_factory=dict)

    def with_own(self, parent: str, variant: Variant) -> "MergedPatch":
        """What a child of this adds to it."""
        patch = variant.patch
        return MergedPatch(
            lineage=(*self.lineage, parent) if parent else (),
            parameters={**self.parameters, **{name: plain(value) for name, value in patch.parameters.items()}},
            options={**self.options, **{one.name: one.value for one in patch.options}},
            interventions=(*self.interventions, *patch.interventions),
            files={**self.files, **{one.path: one for one in patch.files}},
        )


def merged_patches(variants: Sequence[Variant]) -> list[MergedPatch]:
    """For each variant what it changes; parents stand before their children."""
    merged: dict[str, MergedPatch] = {"": MergedPatch()}
    for variant in variants:
        merged[variant.name] = merged[variant.parent].with_own(variant.parent, variant)
    return [merged[variant.name] for variant in variants]


def merged_options(first: Sequence[SumoOption], *later: Mapping[str, str]) -> list[SumoOption]:
    """Options by name, those that come later instead of those before."""
    values = {one.name: one.value for one in first}
    for changes in later:
        values |= changes
    return [SumoOption(name=name, value=value) for name, value in sorted(values.items())]


def plain(value: Value) -> ParameterValue:
    """A parameter's value. What is neither number, string nor truth value becomes a string that no parameter takes."""
    match value.WhichOneof("kind"):
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return ""
