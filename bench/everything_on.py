"""The demo city with everything on that watches over a session, against the same without, and the bare binary."""

import asyncio
import statistics

from bench.lines import told
from bench.overhead import stepping_s
from bench.rivals import binary_s
from bench.stack import stack
from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy
from milepost.client import Milepost
from milepost.session.v1.session_pb2 import (
    KpiGoal,
    KpiName,
    MilestoneRule,
    PhaseKind,
    PlannedPhase,
    Session,
    SessionSpec,
)

ROUNDS = 3


async def measure() -> None:
    """Interleaved rounds; medians, and the median of the ratios round by round."""
    everything: list[float] = []
    plain: list[float] = []
    bare: list[float] = []
    async with stack() as client:
        model = await client.sessions.wait((await client.sessions.create_demo(seed=1)).session_id)
        made = 0
        for _ in range(ROUNDS):
            session = await client.sessions.run(_everything(model))
            made = len(session.checkpoints)
            everything.append(await stepping_s(client, session))
            plain.append(await _plain_s(client))
            bare.append(await binary_s(session))
    told(f"demo city, everything on ({made} checkpoints)", f"p50 {statistics.median(everything):.2f} s")
    told("… nothing on", f"p50 {statistics.median(plain):.2f} s; everything is {_ratio(everything, plain):.2f} of it")
    told("… bare binary", f"p50 {statistics.median(bare):.2f} s; everything is {_ratio(everything, bare):.2f} of it")


def _everything(model: Session) -> SessionSpec:
    """A checkpoint a second, survival copies as always, phases, and milestones that checkpoint."""
    return SessionSpec(
        scenario_digest=model.spec.scenario_digest,
        seed=1,
        checkpoints=CheckpointPolicy(every_wall_s=1.0, at_milestones=True),
        plan=[
            PlannedPhase(name="warm up", kind=PhaseKind.PHASE_KIND_WARM_UP, duration_s=600),
            PlannedPhase(name="peak", kind=PhaseKind.PHASE_KIND_MEASURE, duration_s=1800),
            PlannedPhase(name="after", kind=PhaseKind.PHASE_KIND_COOL_DOWN, duration_s=600),
        ],
        milestones=[
            MilestoneRule(kpi=KpiGoal(kpi=KpiName.KPI_NAME_ARRIVED, at_least=1000)),
            MilestoneRule(teleport_burst=10),
            MilestoneRule(gridlock_share=0.5),
        ],
    )


async def _plain_s(client: Milepost) -> float:
    return await stepping_s(client, await client.sessions.wait((await client.sessions.create_demo(seed=1)).session_id))


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    asyncio.run(measure())
