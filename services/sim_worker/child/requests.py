"""What the worker asks for at a boundary: the journal of the past, commands, looks, copies."""

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
    Plan,
    Refused,
    Wake,
    WriteState,
)
from milepost.event.v1.event_pb2 import JournalEntry
from milepost.intervention.v1.intervention_pb2 import Intervention
from sim_worker.child.chronicle import Chronicle
from sim_worker.child.copies import Copies, CopyRefused
from sim_worker.child.course import Course
from sim_worker.child.engine import Engine
from sim_worker.child.interventions import Interventions, Refusal
from sim_worker.child.observe import simulation_state


class ReplayFailed(Exception):
    """An intervention that was applied once cannot be applied again at the same step."""


class Requests:
    """Carries them out, in order, and answers. Step and place are those of the boundary it is called at."""

    def __init__(self, engine: Engine, chronicle: Chronicle, copies: Copies, tell: Callable[[FromChild], None]) -> None:
        self.journal_length = 0
        self._engine = engine
        self._chronicle = chronicle
        self._copies = copies
        self._tell = tell
        self._interventions = Interventions(engine)
        self._journal: deque[JournalEntry] = deque()
        self._commands: deque[ChildCommand] = deque()

    def follow(self, plan: Plan, course: Course, *, step: int) -> None:
        """Take over a plan's journal, of which `journal_length` entries are applied already. Raises ReplayFailed."""
        self._course = course
        self._commands = deque(plan.commands)
        self._journal = deque(plan.journal[self.journal_length :])
        if self._journal and self._journal[0].step < step:
            raise ReplayFailed(f"the journal changes step {self._journal[0].step}, which is past at step {step}")

    def next_stop(self) -> int | None:
        """The step of the next entry of the journal."""
        return self._journal[0].step if self._journal else None

    def replay(self, step: int) -> None:
        """Apply what was applied here before. Raises ReplayFailed."""
        while self._journal and self._journal[0].step <= step:
            entry = self._journal.popleft()
            try:
                self._interventions.apply(entry.intervention)
            except Refusal as refusal:
                raise ReplayFailed(
                    f"{entry.command_id} was applied at step {step} and is refused now: {refusal}"
                ) from refusal
            self.journal_length += 1

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
        place = self._chronicle.place(step, journal_length=self.journal_length)
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
            return self._copies.sleep(snapshot_id, self._chronicle.place(step, journal_length=self.journal_length))
        except CopyRefused as refused:
            self._refuse(snapshot_id, str(refused), "", step)
            return None

    def write_state(self, asked: WriteState, step: int) -> None:
        """Have a state file written; it is told of when it is complete."""
        try:
            place = self._chronicle.place(step, journal_length=self.journal_length)
            self._copies.write_state(asked.request_id, Path(asked.path), place)
        except CopyRefused as refused:
            self._refuse(asked.request_id, str(refused), "", step)

    def _obey(self, command: ChildCommand, step: int) -> None:
        """Raises Refusal."""
        match command.WhichOneof("command"):
            case "intervention":
                self._interventions.apply(command.intervention)
                self.journal_length += 1
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
