"""Everything a client can tell a session to do.

A command is durable when its call returns: the log holds it. Calls that wait for an effect (`suspend`, `checkpoint`,
`intervene`, `step` …) answer before their deadline also when the effect is still to come, for example because no
worker is free; the log tells when it came. All of them take a `request_id` (UUID): the same id again gives the first
answer, so give your own when a retry may come from another process.
"""

from collections.abc import Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointPolicy
from milepost.intervention.v1.intervention_pb2 import Intervention
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1 import session_service_pb2 as pb
from milepost.session.v1.session_pb2 import KpiGoal, Limits, PlannedIntervention, Session, SessionSpec
from milepost.session_calls import SessionCalls, wish_id


class SessionCommands(SessionCalls):
    """The commanding half of SessionService; the proto names precondition, effect and errors of each call."""

    async def start(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Queue a session that was created with `create_only`."""
        request = pb.StartSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        return (await self._call(self._stub.StartSession, request)).session

    async def cancel(self, session_id: str, *, comment: str = "", request_id: str | None = None) -> Session:
        """End a session at once. CANCELLED, or TERMINATING when its worker takes longer than this call may."""
        request = pb.CancelSessionRequest(session_id=session_id, request_id=wish_id(request_id), comment=comment)
        return (await self._call(self._stub.CancelSession, request)).session

    async def terminate(self, session_id: str, *, request_id: str | None = None) -> Session:
        """End a session gracefully, with the results so far. COMPLETED, or TERMINATING when that takes longer."""
        request = pb.TerminateSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        return (await self._call(self._stub.TerminateSession, request)).session

    async def suspend(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Free the session's slot at the next step boundary. SUSPENDED, or SUSPENDING when that takes longer."""
        request = pb.SuspendSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        return (await self._call(self._stub.SuspendSession, request)).session

    async def resume(
        self,
        session_id: str,
        *,
        checkpoint_id: str = "",
        end_time_s: float | None = None,
        request_id: str | None = None,
    ) -> Session:
        """Go on: a suspended session from the very step, an ended one as a new run from a checkpoint or its end.

        `end_time_s` (simulated) is the end from now on.
        """
        request = pb.ResumeSessionRequest(
            session_id=session_id,
            request_id=wish_id(request_id),
            checkpoint_id=checkpoint_id,
            end_time_s=end_time_s,
        )
        return (await self._call(self._stub.ResumeSession, request)).session

    async def restart(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Begin an ended session again, as a new run; the earlier runs stay in its log."""
        request = pb.RestartSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        return (await self._call(self._stub.RestartSession, request)).session

    async def delete(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Hide a session; it goes for good at its `purge_time`."""
        request = pb.DeleteSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        return (await self._call(self._stub.DeleteSession, request)).session

    async def undelete(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Undo a deletion before its `purge_time`."""
        request = pb.UndeleteSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        return (await self._call(self._stub.UndeleteSession, request)).session

    async def update(
        self,
        session_id: str,
        *,
        display_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        checkpoints: CheckpointPolicy | None = None,
        end_time_s: float | None = None,
        stop_when_empty: bool | None = None,
        goal: KpiGoal | None = None,
        seed: int | None = None,
        options: Sequence[SumoOption] | None = None,
        clear: Sequence[str] = (),
        etag: str = "",
        request_id: str | None = None,
    ) -> Session:
        """Change what is given; each value replaces the whole old one. None leaves a field as it is.

        `clear` names fields to unset, for example `spec.end_time_s`. With the `etag` of a session that was read, the
        change is refused (ETAG_MISMATCH) when somebody else was faster.
        """
        spec = {
            "limits": limits,
            "checkpoints": checkpoints,
            "end_time_s": end_time_s,
            "stop_when_empty": stop_when_empty,
            "goal": goal,
            "seed": seed,
            "options": options,
        }
        own = {"display_name": display_name, "labels": labels}
        given = [name for name, value in own.items() if value is not None]
        given += [f"spec.{name}" for name, value in spec.items() if value is not None]
        request = pb.UpdateSessionRequest(
            session_id=session_id,
            request_id=wish_id(request_id),
            update_mask=FieldMask(paths=[*given, *clear]),
            display_name=display_name or "",
            labels=labels,
            spec=SessionSpec(
                limits=limits,
                checkpoints=checkpoints,
                end_time_s=end_time_s,
                stop_when_empty=stop_when_empty or False,
                goal=goal,
                seed=seed or 0,
                options=options,
            ),
            etag=etag,
        )
        return (await self._call(self._stub.UpdateSession, request)).session

    async def checkpoint(
        self,
        session_id: str,
        *,
        name: str = "",
        pinned: bool = False,
        state_file: bool = False,
        request_id: str | None = None,
    ) -> Checkpoint | None:
        """Make a place to go back to, at the next step boundary. None: not made yet when the call had to answer.

        `pinned` keeps it whatever the session's policy says; `state_file` writes SUMO's state file, too.
        """
        request = pb.CreateCheckpointRequest(
            session_id=session_id,
            request_id=wish_id(request_id),
            name=name,
            pinned=pinned,
            state_file=state_file,
        )
        response = await self._call(self._stub.CreateCheckpoint, request)
        return response.checkpoint if response.HasField("checkpoint") else None

    async def pin_checkpoint(
        self, session_id: str, checkpoint_id: str, *, pinned: bool = True, request_id: str | None = None
    ) -> Session:
        """Keep a checkpoint whatever the policy says or, with `pinned=False`, no longer."""
        request = pb.PinCheckpointRequest(
            session_id=session_id, request_id=wish_id(request_id), checkpoint_id=checkpoint_id, pinned=pinned
        )
        return (await self._call(self._stub.PinCheckpoint, request)).session

    async def delete_checkpoint(self, session_id: str, checkpoint_id: str, *, request_id: str | None = None) -> Session:
        """Delete a checkpoint. The place can still be reached by its time."""
        request = pb.DeleteCheckpointRequest(
            session_id=session_id, request_id=wish_id(request_id), checkpoint_id=checkpoint_id
        )
        return (await self._call(self._stub.DeleteCheckpoint, request)).session

    async def rollback(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None = None,
        sim_time_s: float | None = None,
        request_id: str | None = None,
    ) -> Session:
        """Go back to a checkpoint or a simulated time, one of the two, and on from there as a new run."""
        request = pb.RollbackSessionRequest(session_id=session_id, request_id=wish_id(request_id))
        _set_place(request, checkpoint_id, sim_time_s)
        return (await self._call(self._stub.RollbackSession, request)).session

    async def fork(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None = None,
        sim_time_s: float | None = None,
        new_session_id: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        end_time_s: float | None = None,
        interventions: Sequence[Intervention] = (),
        planned_interventions: Sequence[PlannedIntervention] = (),
        replan: bool = False,
        request_id: str | None = None,
    ) -> Session:
        """A new session with the past of this one up to a checkpoint, a simulated time or, with neither, now.

        `interventions` are applied to the new session at the very step of the fork; without them and another end it
        simulates what this one does, byte for byte. `planned_interventions`, or `replan` and none, take the place of
        what was planned for this one after the fork.
        """
        request = pb.ForkSessionRequest(
            session_id=session_id,
            request_id=wish_id(request_id),
            new_session_id=new_session_id,
            display_name=display_name,
            labels=labels,
            end_time_s=end_time_s,
            interventions=interventions,
            planned_interventions=planned_interventions,
            replan=replan,
        )
        _set_place(request, checkpoint_id, sim_time_s)
        return (await self._call(self._stub.ForkSession, request)).session

    async def intervene(
        self,
        session_id: str,
        intervention: Intervention,
        *,
        comment: str = "",
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> pb.ApplyInterventionResponse:
        """Change something in the running simulation; `applied` is unset when that was still to come.

        `validate_only` changes and records nothing. Raises InvalidArgument (INTERVENTION_INVALID) or
        FailedPrecondition (COMMAND_REJECTED) with what would be, or was, refused.
        """
        request = pb.ApplyInterventionRequest(
            session_id=session_id,
            request_id=wish_id(request_id),
            intervention=intervention,
            validate_only=validate_only,
            comment=comment,
        )
        return await self._call(self._stub.ApplyIntervention, request)

    async def pace(
        self, session_id: str, factor: float, *, paused: bool = False, request_id: str | None = None
    ) -> Session:
        """Run at `factor` simulated seconds per second; 0: as fast as possible. Ends a pause unless `paused`."""
        request = pb.SetPaceRequest(session_id=session_id, request_id=wish_id(request_id), factor=factor, paused=paused)
        return (await self._call(self._stub.SetPace, request)).session

    async def pause(self, session_id: str, *, request_id: str | None = None) -> Session:
        """Stand still at the next step boundary, keeping the pace for later; `pace`, `step` or `run_until` end it."""
        found = await self._call(self._stub.GetSession, pb.GetSessionRequest(session_id=session_id))
        return await self.pace(session_id, found.session.pace.factor, paused=True, request_id=request_id)

    async def step(self, session_id: str, steps: int = 1, *, request_id: str | None = None) -> Session:
        """Simulate a number of steps, then pause."""
        request = pb.StepSessionRequest(session_id=session_id, request_id=wish_id(request_id), steps=steps)
        return (await self._call(self._stub.StepSession, request)).session

    async def run_until(self, session_id: str, sim_time_s: float, *, request_id: str | None = None) -> Session:
        """Simulate up to a simulated time, then pause."""
        request = pb.RunUntilRequest(session_id=session_id, request_id=wish_id(request_id), sim_time_s=sim_time_s)
        return (await self._call(self._stub.RunUntil, request)).session


def _set_place(
    request: pb.RollbackSessionRequest | pb.ForkSessionRequest, checkpoint_id: str | None, sim_time_s: float | None
) -> None:
    if checkpoint_id is not None and sim_time_s is not None:
        raise ValueError("a checkpoint or a simulated time, not both")
    if checkpoint_id is not None:
        request.checkpoint_id = checkpoint_id
    if sim_time_s is not None:
        request.sim_time_s = sim_time_s
