"""What the worker asks for at a boundary: commands, looks, copies."""

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from milepost.child.v1.child_pb2 import (
    Applied,
    Check,
    Checked,
    ChildCommand,
    Described,
    FromChild,
    Refused,
    SnapshotPlace,
    Wake,
    WriteState,
)
from milepost.intervention.v1.intervention_pb2 import Intervention
from sim_worker.child.chronicle import Chronicle
from sim_worker.child.copies import Copies, CopyRefused
from sim_worker.child.course import Course
from sim_worker.child.engine import Engine
from sim_worker.child.grid import Grid
from sim_worker.child.interventions import Interventions, Refusal
from sim_worker.child.observe import simulation_state
from sim_worker.child.script import ReplayFailed, Script


class Requests:
    """Carries them out, in order, and answers. Step and place are those of the boundary it is called at."""

    def __init__(
        self,
        engine: Engine,
        chronicle: Chronicle,
        copies: Copies,
        grid: Grid,
        tell: Callable[[FromChild], None],
    ) -> None:
        self._engine = engine
        self._chronicle = chronicle
        self._copies = copies
        self._tell = tell
        self._interventions = Interventions(engine)
        self.script = Script(self._interventions, grid)
        self._commands: deque[ChildCommand] = deque()

    def follow(self, commands: Iterable[ChildCommand], course: Course) -> None:
        """Take over what waits, for a way that begins here."""
        self._course = course
        self._commands = deque(commands)

    def restore(self, interventions: Iterable[Intervention]) -> None:
        """Apply again what a state file forgets. Raises ReplayFailed."""
        for intervention in interventions:
            try:
                self._interventions.apply(intervention)
            except Refusal as refusal:
                raise ReplayFailed(f"what was in force at the checkpoint is refused now: {refusal}") from refusal

    def put(self, command: ChildCommand) -> None:
        """Keep a command until its time has come."""
        self._commands.append(command)

    def carry_out(self, step: int) -> None:
        """Carry out the commands that wait, unless the past is being simulated."""
        while self._commands and not self._course.replaying(step):
            command = self._commands.popleft()
            sim_time_s = self._chronicle.time_s(step)
            try:
                self._obey(command, step)
            except Refusal as refusal:
                self._refuse(command.command_id, refusal.message, refusal.field, step)
            else:
                applied = Applied(command_id=command.command_id, step=step, sim_time_s=sim_time_s)
                self._tell(FromChild(applied=applied))

    def describe(self, request_id: str, step: int) -> None:
        """Tell the whole state."""
        place = self._place(step)
        self._tell(FromChild(described=Described(request_id=request_id, state=simulation_state(self._engine, place))))

    def check(self, check: Check) -> None:
        """Tell whether an intervention would be refused now."""
        checked = Checked(request_id=check.request_id)
        try:
            self._interventions.check(check.intervention)
        except Refusal as refusal:
            checked.refused, checked.field = refusal.message, refusal.field
        self._tell(FromChild(checked=checked))

    def take_snapshot(self, snapshot_id: str, step: int) -> Wake | None:
        """None in the running simulation; in the copy, once it wakes, what it is told."""
        try:
            return self._copies.sleep(snapshot_id, self._place(step))
        except CopyRefused as refused:
            self._refuse(snapshot_id, str(refused), "", step)
            return None

    def write_state(self, asked: WriteState, step: int) -> None:
        """Have a state file written; it is told of when it is complete."""
        try:
            self._copies.write_state(asked.request_id, Path(asked.path), self._place(step))
        except CopyRefused as refused:
            self._refuse(asked.request_id, str(refused), "", step)

    def _place(self, step: int) -> SnapshotPlace:
        place = self._chronicle.place(step)
        place.journal_length, place.planned_length = self.script.journal_length, self.script.planned_length
        return place

    def _obey(self, command: ChildCommand, step: int) -> None:
        """Raises Refusal."""
        match command.WhichOneof("command"):
            case "intervention":
                self._interventions.apply(command.intervention)
                self.script.journal_length += 1
            case "set_pace":
                self._course.set_pace(command.set_pace.factor, paused=command.set_pace.paused, step=step)
            case "step":
                self._course.hold_at(step + command.step.steps)
            case "run_until":
                self._course.run_until(command.run_until.sim_time_s)
            case _:
                raise Refusal("it says nothing", "command")

    def _refuse(self, command_id: str, message: str, field: str, step: int) -> None:
        refused = Refused(
            command_id=command_id,
            message=message,
            field=field,
            step=step,
            sim_time_s=self._chronicle.time_s(step),
        )
        self._tell(FromChild(refused=refused))
