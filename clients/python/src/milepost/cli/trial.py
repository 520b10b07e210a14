"""What `milepost selftest` does: one session of the bundled city through everything a session can go through.

run 1  ──●─────────●────────×                     ● suspended and resumed, then a checkpoint
└─ run 2 ───●────────▶ end     rolled back to it; a worker killed
└─ fork ─────────────▶ end     must equal run 2, byte for byte
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from google.protobuf.message import Message

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint
from milepost.cli.words import verdict_words
from milepost.client import Milepost
from milepost.event.v1.event_pb2 import Event, EventKind, Verdict
from milepost.event.v1.event_service_pb2 import CaughtUp
from milepost.exceptions import InvalidArgument, MilepostError
from milepost.intervention.v1.intervention_pb2 import Intervention, ScaleDemand, StopVehicle
from milepost.options.v1 import options_pb2
from milepost.session.v1.session_pb2 import Session, SessionState
from milepost.sessions import END_STATES

SEED = 11
# How far the session is taken between two steps of the trial, simulated s.
_STRIDE_S = 60.0
# What it still has to go from where it is suspended, simulated s: enough for all strides.
_LENGTH_S = 600.0
# Two simulated times nearer than this are the same step boundary, s.
_SAME_S = 1e-6

_RUNNING = SessionState.SESSION_STATE_RUNNING
_SUSPENDED = SessionState.SESSION_STATE_SUSPENDED
_COMPLETED = SessionState.SESSION_STATE_COMPLETED

SIMULATION_KINDS = frozenset(
    kind.name
    for kind in Event.DESCRIPTOR.oneofs_by_name["payload"].fields
    if kind.message_type is not None
    and kind.message_type.GetOptions().Extensions[options_pb2.event_class] == options_pb2.EVENT_CLASS_SIMULATION
)
"""Names of the payloads that equal inputs make equal."""


class Unexpected(Exception):
    """Something came out other than promised; the message says what."""


@dataclass(slots=True)
class Trial:
    """The steps, in order. Each gives a few words on what it saw, or raises Unexpected or MilepostError.

    `kill_worker` kills the worker of the stack; None where somebody else's server is tried.
    """

    client: Milepost
    kill_worker: Callable[[], None] | None = None
    session_id: str = ""
    fork_id: str = ""
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    _stands_s: float = 0.0

    def steps(self) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
        """Names and steps."""
        killing = [("kill its worker", self.kill)] if self.kill_worker is not None else []
        return [
            ("create a session and pause it", self.create),
            ("watch its log", self.watch),
            ("suspend and resume it", self.suspend),
            ("make a checkpoint", self.make_checkpoint),
            ("intervene", self.intervene),
            ("go back to the checkpoint", self.roll_back),
            ("fork it there", self.fork),
            *killing,
            ("run both to the end", self.finish),
            ("compare the fork with it", self.compare),
            ("look at a past state", self.look_back),
            ("read everything back", self.read_back),
            ("verify both from their logs", self.verify),
        ]

    async def create(self) -> str:
        """A session that stands a little after its begin."""
        session = await self.client.sessions.create_demo(seed=SEED, display_name="selftest")
        self.session_id = session.session_id
        await self._stand()
        await self._go_on()
        return f"session {self.session_id}"

    async def watch(self) -> str:
        """History up to now, whole and in order; a gap would raise LogGapError."""
        seen = 0
        async with aclosing(self.client.events.watch(self.session_id)) as items:
            async for item in items:
                if isinstance(item, CaughtUp):
                    break
                seen += isinstance(item, Event)
        head = await self.client.events.head(self.session_id)
        _expect(0 < seen <= head.head_seq, f"{seen} events seen, {head.head_seq} stored")
        return f"{seen} events"

    async def suspend(self) -> str:
        """It gives its slot back, and goes on exactly where it stood, to an end that is near."""
        await self.client.sessions.suspend(self.session_id)
        session = await self._reached(self.session_id, _SUSPENDED)
        end_s = self._stands_s + _LENGTH_S
        await self.client.sessions.resume(self.session_id, end_time_s=end_s)
        verdict = await self._judged_after(session.seq)
        await self._reached(self.session_id, _RUNNING)
        return verdict

    async def make_checkpoint(self) -> str:
        """A place to go back to, listed as such."""
        await self._go_on()
        made = await self.client.sessions.checkpoint(self.session_id, name="selftest", pinned=True)
        if made is None:
            raise Unexpected("no checkpoint was made in time")
        listed = [one.checkpoint_id for one in (await self._session()).checkpoints]
        _expect(made.checkpoint_id in listed, f"{made.checkpoint_id} is not listed")
        self.checkpoint = made
        return f"at {made.sim_time_s:g} s"

    async def intervene(self) -> str:
        """What is impossible is refused; what is possible happens, at a step the log names."""
        nobody = Intervention(stop_vehicle=StopVehicle(vehicle_id="selftest nobody", duration_s=1))
        try:
            await self.client.sessions.intervene(self.session_id, nobody, validate_only=True)
        except InvalidArgument:
            pass
        else:
            raise Unexpected("a vehicle that is not there can be stopped")
        double = Intervention(scale_demand=ScaleDemand(factor=2))
        await self.client.sessions.intervene(self.session_id, double, validate_only=True)
        answer = await self.client.sessions.intervene(self.session_id, double, comment="selftest")
        _expect(answer.applied, "the demand was not scaled in time")
        await self._go_on()
        return f"demand doubled at step {answer.step}"

    async def roll_back(self) -> str:
        """A new run from the checkpoint: as if nobody had intervened."""
        before = await self._session()
        await self.client.sessions.rollback(self.session_id, checkpoint_id=self.checkpoint.checkpoint_id)
        session = await self._reached(self.session_id, _RUNNING)
        _expect(session.run == before.run + 1, f"it is in run {session.run}")
        # It stood, so it stands again where it went back to.
        self._stands_s = (await self._first(EventKind.EVENT_KIND_PAUSED, before.seq)).sim_time_s
        _expect(abs(self._stands_s - self.checkpoint.sim_time_s) < _SAME_S, f"it stands at {self._stands_s:g} s")
        return f"run {session.run} from {self.checkpoint.sim_time_s:g} s"

    async def fork(self) -> str:
        """A second session with the same past."""
        session = await self.client.sessions.fork(
            self.session_id, checkpoint_id=self.checkpoint.checkpoint_id, display_name="selftest fork"
        )
        self.fork_id = session.session_id
        origin = session.forked_from
        _expect(origin.session_id == self.session_id, f"it says it comes from {origin.session_id!r}")
        _expect(self.fork_id in (await self._session()).forks, "its origin does not know it")
        return f"session {self.fork_id}"

    async def kill(self) -> str:
        """Nothing is lost, nothing changes."""
        assert self.kill_worker is not None
        session = await self._session()
        self.kill_worker()
        verdict = await self._judged_after(session.seq)
        await self._reached(self.session_id, _RUNNING)
        return verdict

    async def finish(self) -> str:
        """Both complete."""
        await self.client.sessions.pace(self.session_id, 0)
        sessions = [await self.client.sessions.wait(one) for one in (self.session_id, self.fork_id)]
        for session in sessions:
            _expect(session.state == _COMPLETED, f"{session.session_id}: {SessionState.Name(session.state)}")
        return f"{sessions[0].results.steps} steps each"

    async def compare(self) -> str:
        """What was simulated after the fork is the same in both, byte for byte."""
        session = await self._session()
        own = await self._simulated(self.session_id, session.run)
        forked = await self._simulated(self.fork_id, run=1)
        _expect(len(own) > 1, "nothing was simulated after the fork")
        differing = next((one[1] for one, other in zip(own, forked, strict=False) if one != other), None)
        _expect(differing is None, f"they differ at step {differing}")
        _expect(len(own) == len(forked), f"{len(own)} events against {len(forked)}")
        return f"{len(own)} events, equal"

    async def look_back(self) -> str:
        """The state at a time is the same whoever is asked."""
        at_s = self.checkpoint.sim_time_s + _STRIDE_S
        own = await self.client.sessions.state(self.session_id, sim_time_s=at_s)
        forked = await self.client.sessions.state(self.fork_id, sim_time_s=at_s)
        _expect(abs(own.sim_time_s - at_s) < 1, f"asked for {at_s:g} s, got {own.sim_time_s:g} s")
        _expect(own.vehicles == forked.vehicles, "the vehicles differ")
        return f"{len(own.vehicles.ids)} vehicles at {own.sim_time_s:g} s"

    async def read_back(self) -> str:
        """Logs without gaps, files with the digests they were stored under."""
        events = size_bytes = 0
        for session_id in (self.session_id, self.fork_id):
            seqs = [event.seq async for event in self.client.events.read(session_id)]
            _expect(seqs == list(range(1, len(seqs) + 1)), f"the log of {session_id} has gaps")
            events += len(seqs)
            for artifact in (await self.client.sessions.get(session_id, full=True)).artifacts:
                async for chunk in self.client.artifacts.chunks(artifact):
                    size_bytes += len(chunk)
        return f"{events} events, {size_bytes / 1e6:.1f} MB of files"

    async def verify(self) -> str:
        """Simulated again from the logs alone, every record comes out equal."""
        records = 0
        for session_id in (self.session_id, self.fork_id):
            answer = await self.client.sessions.verify(session_id)
            _expect(answer.exact, f"{session_id} differs at step {answer.diverged_step}: {answer.difference}")
            records += answer.records
        return f"{records} records, EXACT"

    async def clean_up(self) -> str:
        """End and delete what was made, whatever state it is in. Raises MilepostError when that fails."""
        for session_id in filter(None, (self.session_id, self.fork_id)):
            session = await self.client.sessions.get(session_id)
            if session.state not in END_STATES:
                # It may end by itself at this very moment.
                with suppress(MilepostError):
                    await self.client.sessions.cancel(session_id, comment="selftest is over")
                await self.client.sessions.wait(session_id)
            await self.client.sessions.delete(session_id)
        return "deleted"

    async def _session(self) -> Session:
        return await self.client.sessions.get(self.session_id, full=True)

    async def _reached(self, session_id: str, state: SessionState.ValueType) -> Session:
        session = await self.client.sessions.wait_for(session_id, state)
        _expect(session.state == state, f"it is {SessionState.Name(session.state)}")
        return session

    async def _stand(self) -> None:
        """Pause the session, which runs, and wait until it stands."""
        seq = (await self._session()).seq
        await self.client.sessions.pause(self.session_id)
        self._stands_s = (await self._first(EventKind.EVENT_KIND_PAUSED, seq)).sim_time_s

    async def _go_on(self) -> None:
        """Take the session, which stands, a stride further; it stands there when this returns."""
        seq = (await self._session()).seq
        until_s = self._stands_s + _STRIDE_S
        await self.client.sessions.run_until(self.session_id, until_s)
        self._stands_s = (await self._first(EventKind.EVENT_KIND_PAUSED, seq)).sim_time_s
        _expect(abs(self._stands_s - until_s) < _SAME_S, f"it stands at {self._stands_s:g} s, not at {until_s:g} s")

    async def _judged_after(self, seq: int) -> str:
        """The next verdict of the log on a new attempt; it must be EXACT."""
        judged = (await self._first(EventKind.EVENT_KIND_RECOVERY_JUDGED, seq)).recovery_judged
        _expect(judged.verdict == Verdict.VERDICT_EXACT, f"{Verdict.Name(judged.verdict)}: {judged.difference}")
        return verdict_words(judged)

    async def _first(self, kind: EventKind.ValueType, after_seq: int) -> Event:
        """The session's first event of a kind after a place in its log."""
        async with aclosing(self.client.events.watch(self.session_id, after_seq=after_seq, kinds=[kind])) as items:
            async for item in items:
                if isinstance(item, Event):
                    return item
        raise Unexpected(f"it ended without {EventKind.Name(kind)}")

    async def _simulated(self, session_id: str, run: int) -> list[tuple[str, int, float, bytes]]:
        """SIMULATION events of a run after the checkpoint, as what must be equal: kind, step, time and bytes."""
        found: list[tuple[str, int, float, bytes]] = []
        async for event in self.client.events.read(session_id):
            kind = event.WhichOneof("payload") or ""
            if event.run == run and event.step > self.checkpoint.step and kind in SIMULATION_KINDS:
                payload: Message = getattr(event, kind)
                found.append((kind, event.step, event.sim_time_s, payload.SerializeToString(deterministic=True)))
        return found


def _expect(promised: bool, otherwise: str) -> None:
    if not promised:
        raise Unexpected(otherwise)
