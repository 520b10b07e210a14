"""Run one study: fold its log, do what follows, append what came of it; again, until it has ended.

    asked cells ─► stored results ─► sessions begun ─► sessions over ─► CellsFinished
         ▲                                                                   │ all of the rung
         └── SeedsAdded, VariantDropped ◄── verdict ◄────────────────────────┘── StudyCompleted

What to do follows from the log and from what sessions came to, and from nothing else: killed at any moment, another
process goes on and comes to the same end.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from google.protobuf.message import Message

from milepost.study.v1.study_event_pb2 import SeedsAdded, StudyCancelled, StudyCompleted, VariantDropped
from milepost.study.v1.study_pb2 import StudyEnd
from runtime.errors import CallRefused
from session_api.application.append_command import Caller
from session_api.application.end_session import EndSession
from session_api.application.study.cells import map_session, session_of, warm_up_session
from session_api.application.study.count_cells import count_cells
from session_api.application.study.judge import Judge, difference, planned_rungs, verdict
from session_api.application.study.map_runs import wanted_map_runs
from session_api.application.study.study_cells import StudyCells
from session_api.application.study.study_logs import StudyLogs
from session_api.application.study.study_resource import study_resource
from session_api.application.study.study_state import StudySoFar
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.studies_sql import Studies
from session_api.gateways.study_sessions import StudySessions
from session_log.writer import LostRace, Place

log = structlog.get_logger()

# How long to wait for a session to end before looking all the same, seconds.
_LOOK_S = 2.0
# Sessions that end one soon after the other are told together: for this part of the study's age, within these bounds,
# seconds; for the least time where so few cells are left that all of them may be over at any moment.
_GATHER_SHARE, _GATHER_LEAST_S, _GATHER_MOST_S = 0.05, 0.05, 1.0
_FEW_CELLS = 16
_CANCELS_AT_ONCE = 8


@dataclass(slots=True)
class RunStudy:
    """One study of a tenant, from where its log stands to its end."""

    tenant: str
    study_id: str
    logs: StudyLogs
    cells: StudyCells
    judge: Judge
    studies: Studies
    sessions: Sessions
    study_sessions: StudySessions
    end: EndSession
    _rungs: Sequence[Sequence[int]] = field(default_factory=tuple)
    _cancelled: set[str] = field(default_factory=set)
    _at: Place = field(default_factory=Place)
    """Where the log ended when it was read to decide on."""

    async def __call__(self) -> None:
        """Until it has ended; what is not there at the moment is raised."""
        with self.sessions.ends() as some_end:
            while True:
                study = await self.logs.read(self.tenant, self.study_id)
                if study.end_time is not None:
                    break
                some_end.clear()
                self._at = study.place
                try:
                    moved = await self._move(study)
                except LostRace:
                    if study.cancel is None:
                        # Another replica runs it, too: let it.
                        await asyncio.sleep(random.uniform(1.0, 3.0))  # noqa: S311 - so that two do not meet again
                    continue
                if not moved:
                    await self._wait(study, some_end)
        if not study.deleted:
            await self.studies.note(self.tenant, study_resource(study))

    async def _wait(self, study: StudySoFar, some_end: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await some_end.wait()
        except TimeoutError:
            return
        age_s = (datetime.now(UTC) - study.create_time).total_seconds()
        many = len(study.open_cells) > _FEW_CELLS
        await asyncio.sleep(
            max(_GATHER_LEAST_S, min(_GATHER_MOST_S, _GATHER_SHARE * age_s)) if many else _GATHER_LEAST_S
        )

    async def _move(self, study: StudySoFar) -> bool:
        """Do what is to be done now; whether the log went on."""
        self._rungs = self._rungs or planned_rungs(study)
        if study.cancel is not None:
            return not await self._cancel_sessions(study) and await self._append(study, [StudyCancelled()])
        if not study.rungs:
            return await self._append(study, [self._next_rung(study, "the first")])
        # Before anything is gathered: what is cancelled for this is no run that failed.
        if self._out_of_time(study):
            open_ones = await self._cancel_sessions(study)
            return not open_ones and await self._complete(study, StudyEnd.STUDY_END_BUDGET)
        if finished := await self.cells.finished(study):
            return await self._append(study, finished)
        if study.open_cells:
            return await self._begin_cells(study)
        return await self._decide(study)

    async def _begin_cells(self, study: StudySoFar) -> bool:
        lost = await self.cells.begin(study)
        if lost:
            return await self._append(study, lost)
        if self.cells.out_of_budget and not self.cells.window.under_way:
            return await self._complete(study, StudyEnd.STUDY_END_BUDGET)
        await self._note(study)
        return False

    async def _decide(self, study: StudySoFar) -> bool:
        """All cells asked for are over."""
        found = await verdict(study)
        rung = len(study.rungs)
        drops = [
            VariantDropped(variant=one.variant, rung=rung, because=one.because, to_leader=difference(one.to_leader))
            for one in found.drops
            if study.index(one.variant) not in study.dropped
        ]
        if not found.over and rung < len(self._rungs):
            return await self._append(study, [*drops, self._next_rung(study, found.because, len(found.left))])
        if drops and len(self._rungs) > 1:
            # With a design of one rung nobody is dropped: that was all there is.
            return await self._append(study, drops)
        over_early = rung < len(self._rungs)
        return await self._complete(study, StudyEnd.STUDY_END_DECIDED if over_early else StudyEnd.STUDY_END_ALL_CELLS)

    def _next_rung(self, study: StudySoFar, because: str, variants: int = 0) -> SeedsAdded:
        number = len(study.rungs)
        return SeedsAdded(
            rung=number + 1,
            seeds=self._rungs[number],
            variants=variants or len(study.plan.variants),
            because=because,
        )

    async def _complete(self, study: StudySoFar, end: StudyEnd.ValueType) -> bool:
        ranking = await self.judge(self.tenant, study, over=True)
        if end != StudyEnd.STUDY_END_BUDGET:
            wanted = wanted_map_runs(study, ranking)
            there = {(study.index(run.variant), run.seed) for run in study.map_runs}
            if missing := [key for key in wanted if key not in there]:
                lost = await self.cells.begin_map_runs(study, missing)
                return await self._append(study, lost) if lost else False
        return await self._append(study, [StudyCompleted(end=end, answer=ranking.answer)])

    async def _append(self, study: StudySoFar, payloads: Sequence[Message]) -> bool:
        await self.logs.append(self.tenant, study, payloads, at=self._at)
        count_cells(payloads)
        await self._note(study)
        return True

    async def _note(self, study: StudySoFar) -> None:
        because = self.cells.window.waits_because
        shown = study_resource(study, running=0, conditions=[because] if because else [])
        await self.studies.note(self.tenant, shown)

    def _out_of_time(self, study: StudySoFar) -> bool:
        limit_s = study.plan.spec.budget.wall_time_s
        return bool(limit_s) and (datetime.now(UTC) - study.create_time).total_seconds() >= limit_s

    async def _cancel_sessions(self, study: StudySoFar) -> bool:
        """Cancel all that may have been begun and are not over; whether there were any."""
        names = [session_of(study, key) for key in study.open_cells]
        shared = {one for key in study.open_cells if (one := study.warm_up(key)) is not None}
        names += [warm_up_session(study, one) for one in shared if one not in study.warm_ups]
        ranking = await self.judge(self.tenant, study, over=True)
        names += [map_session(study, key) for key in wanted_map_runs(study, ranking)]
        turn = asyncio.Semaphore(_CANCELS_AT_ONCE)

        async def cancel(session_id: str) -> None:
            async with turn:
                try:
                    await self.end.cancel(
                        Caller(self.tenant, wait_s=0.0, asked_by="study"), session_id, comment="its study ends"
                    )
                except CallRefused as refused:
                    # It has ended meanwhile.
                    log.info("session of a study not cancelled", session=session_id, reason=str(refused))

        open_ones = await self.study_sessions.open(self.tenant, names)
        # Once each: one that a worker has ends when that has killed it.
        await asyncio.gather(*(cancel(name) for name in open_ones if name not in self._cancelled))
        self._cancelled.update(open_ones)
        return bool(open_ones)
