"""`milepost run PATH`: upload, create, follow, results."""

import asyncio
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from milepost.checkpoint.v1.checkpoint_pb2 import CheckpointPolicy, RecoveryPolicy
from milepost.cli.command import Target, console, fail_line
from milepost.cli.interventions import planned_in
from milepost.cli.json_form import json_line
from milepost.cli.progress import display, follow
from milepost.cli.scheduling import MAX_SESSIONS, scheduling_of, seeds_of
from milepost.cli.tables import failure_lines, finding_line, results_table, state_word
from milepost.client import Milepost
from milepost.scenario.v1.scenario_pb2 import SumoOption
from milepost.session.v1.session_pb2 import (
    EdgeData,
    Engine,
    PhaseKind,
    PlannedPhase,
    Session,
    SessionSpec,
    SessionState,
)
from milepost.session.v1.session_service_pb2 import CreateSessionRequest

# SUMO's own, so that a run is what `sumo -c` would have been.
DEFAULT_SEED = 23423
ENGINES = {"libsumo": Engine.ENGINE_LIBSUMO, "traci": Engine.ENGINE_TRACI}
RECOVERIES = {
    "exact": RecoveryPolicy.RECOVERY_POLICY_EXACT,
    "rebase": RecoveryPolicy.RECOVERY_POLICY_REBASE,
    "fast": RecoveryPolicy.RECOVERY_POLICY_FAST,
}
PHASE_KINDS = {
    "warm": PhaseKind.PHASE_KIND_WARM_UP,
    "measure": PhaseKind.PHASE_KIND_MEASURE,
    "cool": PhaseKind.PHASE_KIND_COOL_DOWN,
}
_PHASE = re.compile(rf"(?:(?P<name>[^=]+)=)?(?P<kind>{'|'.join(PHASE_KINDS)}):(?P<seconds>\d+(?:\.\d+)?)")
# The contract's limit on a pace that is not `max`.
_FASTEST = 1e6
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Sessions that are named when they are left to themselves.
_MAX_GOING_ON = 5
# Notes about a scenario that are shown; all are in `scenarios validate`.
_MAX_WARNINGS = 5


def engine_of(name: str | None) -> Engine.ValueType:
    """The engine a word stands for; None: the server's default. Raises typer.BadParameter."""
    if name is None:
        return Engine.ENGINE_UNSPECIFIED
    if name not in ENGINES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(ENGINES)}", param_hint="--engine")
    return ENGINES[name]


def recovery_of(name: str | None) -> RecoveryPolicy.ValueType:
    """The recovery policy a word stands for; None: the server's default. Raises typer.BadParameter."""
    if name is None:
        return RecoveryPolicy.RECOVERY_POLICY_UNSPECIFIED
    if name not in RECOVERIES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(RECOVERIES)}", param_hint="--recovery")
    return RECOVERIES[name]


def pace_of(word: str) -> float:
    """Simulated seconds per second from a number or `max` (0). Raises typer.BadParameter."""
    if word == "max":
        return 0.0
    try:
        factor = float(word.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor <= _FASTEST:
        raise typer.BadParameter("must be a positive number or max", param_hint="FACTOR")
    return factor


def options_of(settings: list[str]) -> list[SumoOption]:
    """SUMO options from `name=value`. Raises typer.BadParameter."""
    pairs = [setting.lstrip("-").partition("=") for setting in settings]
    if any(not name or not equals for name, equals, _ in pairs):
        raise typer.BadParameter("must be name=value", param_hint="--set")
    return [SumoOption(name=name, value=value) for name, _, value in pairs]


def plan_of(text: str) -> list[PlannedPhase]:
    """Phases from `[NAME=]KIND:SECONDS,…`, kinds warm, measure and cool. Raises typer.BadParameter."""
    phases: list[PlannedPhase] = []
    for part in text.split(","):
        found = _PHASE.fullmatch(part.strip())
        if found is None or float(found["seconds"]) <= 0:
            raise typer.BadParameter(f"{part!r} is not [NAME=]warm|measure|cool:SECONDS", param_hint="--plan")
        phases.append(
            PlannedPhase(
                name=found["name"] or found["kind"],
                kind=PHASE_KINDS[found["kind"]],
                duration_s=float(found["seconds"]),
            )
        )
    names = [phase.name for phase in phases]
    if len(set(names)) < len(names):
        raise typer.BadParameter("two phases have the same name; say NAME=KIND:SECONDS", param_hint="--plan")
    return phases


async def run(
    target: Target,
    *,
    path: Annotated[str, typer.Argument(help="A .sumocfg, a directory with one, a zip, or a stored digest.")],
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="SUMO's random seed.")] = DEFAULT_SEED,
    end: Annotated[float | None, typer.Option(min=0, help="Simulated end, s.")] = None,
    engine: Annotated[str | None, typer.Option(help="libsumo or traci.")] = None,
    name: Annotated[str, typer.Option(help="Name for humans.")] = "",
    interval_steps: Annotated[int, typer.Option(min=1, help="Steps per interval.")] = 10,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A SUMO option, name=value.")] = None,
    stop_when_empty: Annotated[bool, typer.Option("--stop-when-empty", help="End with the last vehicle.")] = False,
    ignore_route_errors: Annotated[
        bool, typer.Option("--ignore-route-errors", help="Discard vehicles without a valid route.")
    ] = False,
    session_id: Annotated[str, typer.Option("--id", help="An id of your own; by default the server makes one.")] = "",
    checkpoint_every: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="A checkpoint every so many simulated seconds.")
    ] = None,
    recovery: Annotated[str | None, typer.Option(help="exact, rebase (with --checkpoint-every) or fast.")] = None,
    plan: Annotated[
        str | None, typer.Option(metavar="PHASES", help="Phases, for example warm:600,measure:3000,cool:300.")
    ] = None,
    planned: Annotated[
        Path | None, typer.Option(help="Interventions at their times: a JSON file with one or a list of them.")
    ] = None,
    edge_data: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", help="Keep SUMO's edge data, by so many seconds; 0: of the whole run."),
    ] = None,
    pace: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="Simulated seconds per second from its begin on.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Stand before the first step until told to go on.")] = False,
    seeds: Annotated[
        str | None, typer.Option(metavar="SEEDS", help="A session for each: 1..100, or 1,2,7, or both.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=MAX_SESSIONS, help="So many sessions, seeds from --seed on.")] = 1,
    pool: Annotated[str, typer.Option(help="Pool whose workers run it; by default the server's own.")] = "",
    class_: Annotated[str | None, typer.Option("--class", help="interactive, standard or batch.")] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low, among your own of a class.")] = None,
    wait_for_quota: Annotated[
        bool, typer.Option("--wait-for-quota", help="Wait for the quota of sessions instead of being refused.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave as soon as the session is created.")] = False,
) -> None:
    """Run a scenario, once or with many seeds, and follow it to its end. Exit code 0 only when all completed."""
    all_seeds = seeds_of(seeds) if seeds is not None else list(range(seed, seed + count))
    if session_id and len(all_seeds) > 1:
        raise typer.BadParameter("is for one session", param_hint="--id")
    spec = SessionSpec(
        seed=seed,
        engine=engine_of(engine),
        end_time_s=end,
        interval_steps=interval_steps,
        options=options_of(set_ or []),
        stop_when_empty=stop_when_empty,
        ignore_route_errors=ignore_route_errors,
        recovery=recovery_of(recovery),
        checkpoints=None if checkpoint_every is None else CheckpointPolicy(every_sim_s=checkpoint_every),
        plan=None if plan is None else plan_of(plan),
        interventions=None if planned is None else planned_in(planned),
        edge_data=None if edge_data is None else EdgeData(interval_s=edge_data),
        pace=0.0 if pace is None else pace_of(pace),
        start_paused=paused,
        scheduling=scheduling_of(pool=pool, work_class=class_, priority=priority),
    )
    async with target.client() as client:
        spec.scenario_digest = await _scenario(client, target, path)
        display_name = name or Path(path).resolve().stem
        if len(all_seeds) == 1:
            spec.seed = all_seeds[0]
            sessions = [
                await client.sessions.create(
                    spec, session_id=session_id, display_name=display_name, wait_for_quota=wait_for_quota
                )
            ]
        else:
            wanted = CreateSessionRequest(spec=spec, display_name=display_name, wait_for_quota=wait_for_quota)
            sessions = await _create_all(client, wanted, all_seeds)
        if not detach:
            sessions = await _to_the_end(client, target, sessions)
    print_outcome(target, sessions)
    if not detach:
        leave_unless_completed(sessions)


def leave_unless_completed(sessions: list[Session]) -> None:
    """Say what went wrong and exit with 1 unless all completed."""
    for session in sessions:
        if session.state == SessionState.SESSION_STATE_FAILED:
            first, *rest = failure_lines(session)
            fail_line("\n".join([f"session {session.session_id} failed: {first}", *rest]))
        elif session.state != SessionState.SESSION_STATE_COMPLETED:
            fail_line(f"session {session.session_id} is {state_word(session)}")
    if any(session.state != SessionState.SESSION_STATE_COMPLETED for session in sessions):
        raise typer.Exit(1)


def print_outcome(target: Target, sessions: list[Session]) -> None:
    """Sessions as JSON lines or as a table."""
    if target.json:
        for session in sessions:
            print(json_line(session))
        return
    for session in sessions:
        print(f"session {session.session_id}: {state_word(session)}")
    completed = [session for session in sessions if session.HasField("results")]
    if completed:
        console().print(results_table(completed))


async def _scenario(client: Milepost, target: Target, path: str) -> str:
    if _DIGEST.fullmatch(path) and not Path(path).exists():
        return path
    scenario = await client.scenarios.upload(Path(path))
    if not target.json:
        for warning in scenario.warnings[:_MAX_WARNINGS]:
            sys.stderr.write(f"note: {finding_line(warning)}\n")
        if len(scenario.warnings) > _MAX_WARNINGS:
            sys.stderr.write(f"note: and {len(scenario.warnings) - _MAX_WARNINGS} more\n")
    return scenario.digest


async def _create_all(client: Milepost, wanted: CreateSessionRequest, seeds: list[int]) -> list[Session]:
    """A session for each seed. One that is refused fails the command; those that were created go on."""
    requests = []
    for seed in seeds:
        request = CreateSessionRequest()
        request.CopyFrom(wanted)
        request.spec.seed, request.display_name = seed, f"{wanted.display_name}, seed {seed}"
        requests.append(request)
    created = await client.sessions.create_many(requests)
    sessions = [one for one in created if isinstance(one, Session)]
    refused = [one for one in created if not isinstance(one, Session)]
    if refused:
        fail_line(f"{len(refused)} of {len(created)} sessions were refused, for example: {refused[0]}")
        for session in sessions:
            sys.stderr.write(f"session {session.session_id} goes on\n")
        raise typer.Exit(1)
    return sessions


async def _to_the_end(client: Milepost, target: Target, sessions: list[Session]) -> list[Session]:
    with ExitStack() as stack:
        shown = display(quiet=target.json, stack=stack)
        try:
            return await asyncio.gather(*(follow(client, session, shown) for session in sessions))
        except asyncio.CancelledError:
            stack.close()
            for session in sessions[:_MAX_GOING_ON]:
                sys.stderr.write(
                    f"session {session.session_id} goes on; watch it with: milepost sessions watch "
                    f"{session.session_id}, end it with: milepost sessions cancel {session.session_id}\n"
                )
            if len(sessions) > _MAX_GOING_ON:
                sys.stderr.write(f"and {len(sessions) - _MAX_GOING_ON} more: milepost sessions list\n")
            raise
