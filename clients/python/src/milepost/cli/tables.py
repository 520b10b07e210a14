"""Tables for humans."""

import shlex
from collections.abc import Iterable

from rich.table import Table

from milepost.event.v1.event_pb2 import Event
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.scenario.v1.scenario_pb2 import Finding, Scenario
from milepost.session.v1.session_pb2 import CompletionReason, Engine, FailureReason, Session, SessionState


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
            session.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
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
        ("run / attempt", f"{session.run} / {session.attempt}"),
        ("worker", session.worker_id),
        ("simulated", f"{session.progress.sim_time_s:.0f} s"),
        ("real time", f"{session.progress.real_time_factor:.0f} x"),
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


def kpi_rows(kpis: Kpis) -> list[tuple[str, str]]:
    """Name and value of every KPI, in the contract's order."""
    return [(kpi.name.replace("_", " "), f"{getattr(kpis, kpi.name):.12g}") for kpi in Kpis.DESCRIPTOR.fields]


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
            scenario.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
        )
    return table


def finding_line(finding: Finding) -> str:
    """A finding as `file:line: message [rule]`."""
    place = f"{finding.file}:{finding.line}: " if finding.line else f"{finding.file}: " if finding.file else ""
    return f"{place}{finding.message} [{finding.rule}]"


def event_line(event: Event) -> str:
    """An event as one line: number, simulated time, what happened."""
    kind = event.WhichOneof("payload") or "unknown"
    return f"{event.seq:>7}  {event.sim_time_s:>10.1f} s  {kind.replace('_', ' '):<18} {_gist(event, kind)}".rstrip()


def _gist(event: Event, kind: str) -> str:
    match kind:
        case "interval_closed":
            kpis = event.interval_closed.kpis
            return f"{kpis.running} running, {kpis.arrived} arrived, {kpis.mean_speed_mps:.1f} m/s"
        case "attempt_claimed":
            return f"attempt {event.attempt_claimed.attempt} by {event.attempt_claimed.worker_id}"
        case "session_failed":
            return event.session_failed.failure.message
        case "artifact_stored":
            return event.artifact_stored.artifact.name
        case "log_line":
            return event.log_line.text
        case "command_requested":
            return event.command_requested.WhichOneof("verb") or ""
        case _:
            return ""
