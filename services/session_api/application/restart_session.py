"""Restart: an ended session begins again at its origin, with the task as it was last asked for."""

from dataclasses import dataclass

from milepost.event.v1.event_pb2 import CommandRequested, RestartCommand, RunCause, RunOpened
from milepost.session.v1.session_pb2 import Session
from session_api.application.append_command import AppendCommand, Caller, Follow, done
from session_api.application.task import resolve_scene
from session_api.gateways.scenarios_sql import Scenarios
from session_log.reader import LogSoFar


@dataclass(frozen=True, slots=True)
class RestartSession:
    """An end → PENDING, as a new run."""

    append: AppendCommand
    scenarios: Scenarios

    async def __call__(self, caller: Caller, session_id: str) -> Session:
        """The session, PENDING. Raises as AppendCommand."""
        command = CommandRequested(restart=RestartCommand())

        async def decide(log: LogSoFar) -> Follow:
            opened = RunOpened(
                run=log.life.run + 1,
                because=RunCause.RUN_CAUSE_RESTART,
                sim_time_s=log.wish.scene.begin_time_s,
                spec=log.wish.spec,
                scene=log.wish.scene,
            )
            # A run that had begun kept its options whatever was updated since: now they count.
            scenario = await self.scenarios.get(caller.tenant, opened.spec.scenario_digest)
            if scenario is not None:
                opened.scene.CopyFrom(resolve_scene(opened.spec, scenario.scene))
                opened.sim_time_s = opened.scene.begin_time_s
            return done(command, opened, run=opened.run, order=True)

        return await self.append.session(caller, await self.append(caller, session_id, command, decide))
