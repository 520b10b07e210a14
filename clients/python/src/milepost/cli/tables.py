"""Tables for humans."""

import math
import shlex
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from milepost.checkpoint.v1.checkpoint_pb2 import Checkpoint, CheckpointCause, Exactness
from milepost.cli.words import enum_word, gist, pace_word
from milepost.event.v1.event_pb2 import Event
from milepost.event.v1.metrics_pb2 import QueryMetricsResponse, SessionStatistic
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Finding, Scenario
from milepost.session.v1.session_pb2 import (
    Attempt,
    CompletionReason,
    Engine,
    FailureReason,
    Phase,
    PhaseStatus,
    Session,
    SessionState,
)
from milepost.state.v1.state_pb2 import SimulationState


def state_word(session: Session) -> str:
    """The state in one word."""
    return SessionState.Name(session.state).removeprefix("SESSION_STATE_").lower()


def failure_lines(session: Session) -> list[str]:
    """What went wrong in a run, with SUMO's own last words."""
    failure = session.failure
    reason = FailureReason.Name(failure.reason).removeprefix("FAILURE_REASON_")
    place = f" ({failure.file}:{failure.line})" if failure.file else ""
    return [f"{reason}: {failure.message}{place}", *(f"  {line}" for line in failure.last_words)]


def sessions_table(sessions: Iterable[Session]) -> Table:
    """One row per session."""
    table = Table("session", "name", "state", "seed", "simulated", "vehicles", "real time", "created", box=None)
    for session in sessions:
        progress = session.progress
        table.add_row(
            session.session_id,
            session.display_name,
            state_word(session),
            str(session.spec.seed),
            f"{progress.sim_time_s:.0f} s",
            str(progress.kpis.running),
            f"{progress.real_time_factor:.0f} x",
            _clock(session.create_time),
        )
    return table


def results_table(sessions: Iterable[Session]) -> Table:
    """Results side by side, one row per session; times are means over trips. Fits 80 columns."""
    table = Table("name", "seed", "state", box=None)
    for column in ("departed", "arrived", "travel time", "time loss", "waiting"):
        table.add_column(column, justify="right", no_wrap=True)
    for session in sessions:
        kpis = session.results.kpis
        table.add_row(
            session.display_name or session.session_id,
            str(session.spec.seed),
            state_word(session),
            str(kpis.departed),
            str(kpis.arrived),
            f"{kpis.mean_travel_time_s:.2f} s",
            f"{kpis.mean_time_loss_s:.2f} s",
            f"{kpis.mean_waiting_time_s:.2f} s",
        )
    return table


def session_table(session: Session) -> Table:
    """Everything about one session, a row per property."""
    table = Table("", "", box=None, show_header=False)
    rows: list[tuple[str, str]] = [
        ("session", session.session_id),
        ("name", session.display_name),
        ("state", state_word(session)),
        ("scenario", session.spec.scenario_digest),
        ("seed", str(session.spec.seed)),
        ("engine", Engine.Name(session.spec.engine).removeprefix("ENGINE_").lower()),
        *(("label", f"{key}={value}") for key, value in sorted(session.labels.items())),
        ("run / attempt", f"{session.run} / {session.attempt}"),
        ("worker", session.worker_id),
        ("simulated", f"{session.progress.sim_time_s:.0f} s"),
        ("real time", f"{session.progress.real_time_factor:.0f} x"),
        ("pace", f"{pace_word(session.pace.factor)}{', paused' if session.pace.paused else ''}"),
        *_past_rows(session),
        *(("condition", condition) for condition in session.conditions),
    ]
    if session.HasField("results"):
        reason = CompletionReason.Name(session.results.reason).removeprefix("COMPLETION_REASON_").lower()
        rows += [("ended by", reason), *kpi_rows(session.results.kpis)]
        rows.append(("state digest", session.results.state_digest.hex()))
    if session.HasField("failure"):
        rows += [("failure", line) for line in failure_lines(session)]
    if session.HasField("execution"):
        execution = session.execution
        rows.append(("sumo", execution.sumo_version))
        rows.append(("run it yourself", shlex.join([*execution.environment, "sumo", *execution.arguments])))
    rows += [("artifact", f"{artifact.name} ({artifact.size_bytes} bytes)") for artifact in session.artifacts]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return table


def _past_rows(session: Session) -> list[tuple[str, str]]:
    """Where it comes from, what it went through."""
    rows = [("phase", _phase_words(phase)) for phase in session.phases]
    if session.exactness > Exactness.EXACTNESS_EXACT:
        rows.append(("exactness", enum_word(Exactness.Name(session.exactness), "EXACTNESS_")))
    if session.HasField("forked_from"):
        origin = session.forked_from
        rows.append(("forked from", f"{origin.session_id} at {origin.sim_time_s:g} s"))
    rows += [("fork", fork_id) for fork_id in session.forks]
    rows += [("attempt", _attempt_words(attempt)) for attempt in session.attempts]
    if session.HasField("last_checkpoint"):
        last = session.last_checkpoint
        rows.append(("checkpoint", f"{last.checkpoint_id} at {last.sim_time_s:g} s"))
    if session.HasField("delete_time"):
        rows.append(("deleted", f"goes for good at {_clock(session.purge_time)}"))
    return rows


def _phase_words(phase: Phase) -> str:
    status = enum_word(PhaseStatus.Name(phase.status), "PHASE_STATUS_")
    return f"{phase.planned.name}, {phase.planned.duration_s:g} s: {status}"


def _attempt_words(attempt: Attempt) -> str:
    judged = f"; {attempt.verdict}, {attempt.intervals_again} intervals again" if attempt.verdict else ""
    because = f", {attempt.because}" if attempt.because else ""
    return f"{attempt.attempt} of run {attempt.run} by {attempt.worker_id}{because}{judged}"


def metrics_table(answer: QueryMetricsResponse) -> Table:
    """One row per bucket, one column per series."""
    phases = any(bucket.phase for bucket in answer.buckets)
    table = Table("phase" if phases else "until", box=None)
    several = len({series.session_id for series in answer.series}) > 1
    for series in answer.series:
        words = [
            *([series.session_id] if several else []),
            series.metric.replace("_", " "),
            *([enum_word(SessionStatistic.Name(series.statistic), "SESSION_STATISTIC_")] if series.statistic else []),
        ]
        table.add_column(Text("\n".join(words)), justify="right")
    for number, bucket in enumerate(answer.buckets):
        values = (series.values[number] for series in answer.series)
        table.add_row(
            Text(bucket.phase or f"{bucket.end_time_s:g} s"),
            *("" if math.isnan(value) else f"{value:.6g}" for value in values),
        )
    return table


def checkpoints_table(checkpoints: Iterable[Checkpoint]) -> Table:
    """One row per checkpoint."""
    table = Table("checkpoint", "name", "run", "step", "simulated", "because", "kept", "state file", "made", box=None)
    for checkpoint in checkpoints:
        size = _size(checkpoint.state_file.size_bytes) if checkpoint.HasField("state_file") else ""
        table.add_row(
            checkpoint.checkpoint_id,
            checkpoint.name,
            str(checkpoint.run),
            str(checkpoint.step),
            f"{checkpoint.sim_time_s:g} s",
            enum_word(CheckpointCause.Name(checkpoint.cause), "CHECKPOINT_CAUSE_"),
            "pinned" if checkpoint.pinned else "",
            size,
            _clock(checkpoint.create_time),
        )
    return table


def state_table(state: SimulationState) -> Table:
    """A simulation at one instant, a row per property."""
    table = Table("", "", box=None, show_header=False)
    table.add_row("simulated", f"{state.sim_time_s:g} s, step {state.step}")
    table.add_row("vehicles", str(len(state.vehicles.ids)))
    table.add_row("persons", str(len(state.persons.ids)))
    table.add_row("signals", str(len(state.signals.ids)))
    for name, value in kpi_rows(state.kpis):
        table.add_row(name, value)
    table.add_row("state digest", state.state_digest.hex())
    return table


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def _clock(at: Timestamp) -> str:
    return at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")


def kpi_rows(kpis: Kpis) -> list[tuple[str, str]]:
    """Name and value of every KPI, in the contract's order."""
    return [
        (kpi.name.replace("_", " "), f"{getattr(kpis, kpi.name):.12g}")
        for kpi in Kpis.DESCRIPTOR.fields
        if kpi.type != kpi.TYPE_BOOL
    ]


def scenarios_table(scenarios: Iterable[Scenario]) -> Table:
    """One row per scenario."""
    table = Table("scenario", "name", "files", "size", "simulated", "created", box=None)
    for scenario in scenarios:
        scene = scenario.scene
        end = f"{scene.end_time_s:.0f}" if scene.HasField("end_time_s") else "empty"
        table.add_row(
            scenario.digest,
            scenario.display_name,
            str(len(scenario.files)),
            f"{sum(file.size_bytes for file in scenario.files) / 1e6:.1f} MB",
            f"{scene.begin_time_s:.0f} to {end}",
            _clock(scenario.create_time),
        )
    return table


def finding_line(finding: Finding) -> str:
    """A finding as `file:line: message [rule]`."""
    place = f"{finding.file}:{finding.line}: " if finding.line else f"{finding.file}: " if finding.file else ""
    return f"{place}{finding.message} [{finding.rule}]"


def event_line(event: Event) -> str:
    """An event as one line: number, simulated time, what happened."""
    kind = event.WhichOneof("payload") or "unknown"
    # What is said of a session from outside, a command for example, has no place in simulated time.
    clock = f"{event.sim_time_s:.1f} s" if event.step or event.sim_time_s else ""
    return f"{event.seq:>7}  {clock:>12}  {kind.replace('_', ' '):<20} {gist(event)}".rstrip()
