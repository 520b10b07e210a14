"""Answer what others ask of this worker."""

from collections.abc import Mapping
from dataclasses import dataclass

from milepost.dispatch.v1.dispatch_pb2 import CheckIntervention, WorkerAnswer, WorkerQuestion
from sim_worker.application.session import Key
from sim_worker.application.work import Work
from sim_worker.gateways.child_process import Child, ChildGone


@dataclass(frozen=True, slots=True)
class AnswerQuestion:
    """Serves one question at a time."""

    work: Work
    children: Mapping[Key, Child]

    async def __call__(self, question: WorkerQuestion) -> WorkerAnswer:
        """The answer."""
        if question.HasField("check_intervention"):
            return await self._check(question.check_intervention)
        return WorkerAnswer(running=self.work.runs(question.still_running))

    async def _check(self, question: CheckIntervention) -> WorkerAnswer:
        child = self.children.get((question.tenant, question.session_id))
        if child is None:
            return WorkerAnswer()
        try:
            checked = await child.check(question.intervention)
        except ChildGone:
            return WorkerAnswer()
        return WorkerAnswer(running=True, refused=checked.refused, field=checked.field)
