"""Why a session's process went, in the contract's words and with SUMO's last ones."""

import signal
from pathlib import Path
from typing import Final

from milepost.child.v1.child_pb2 import Failed
from milepost.session.v1.session_pb2 import Failure, FailureReason
from sim_worker.application.keep_artifacts import SUMO_LOG
from sim_worker.gateways.child_process import ChildExit, ExitCause
from sim_worker.gateways.sumo_log import last_words

_REASONS: Final = {
    ExitCause.INIT_TIMEOUT: FailureReason.FAILURE_REASON_INIT_TIMEOUT,
    ExitCause.STALLED: FailureReason.FAILURE_REASON_STALLED,
    ExitCause.MEMORY_LIMIT: FailureReason.FAILURE_REASON_MEMORY_LIMIT,
}


def failure_of(failed: Failed, directory: Path) -> Failure:
    """Of a process that said why; SUMO's messages are in `directory`."""
    if failed.plan_refused:
        # SUMO's last words have nothing to do with it.
        return Failure(reason=FailureReason.FAILURE_REASON_PLAN_REFUSED, message=failed.message)
    reason = FailureReason.FAILURE_REASON_SIMULATION_ERROR
    if failed.engine_unavailable:
        reason = FailureReason.FAILURE_REASON_ENGINE_UNAVAILABLE
    elif failed.loading:
        reason = FailureReason.FAILURE_REASON_SCENARIO_INVALID
    return _with_last_words(reason, failed.message, directory)


def failure_of_exit(exited: ChildExit, directory: Path) -> Failure:
    """Of a process that said nothing."""
    reason = FailureReason.FAILURE_REASON_CHILD_DIED
    if exited.exit_code == -signal.SIGXFSZ:
        reason = FailureReason.FAILURE_REASON_DISK_LIMIT
    if exited.cause is not None:
        reason = _REASONS.get(exited.cause, reason)
    name = FailureReason.Name(reason).removeprefix("FAILURE_REASON_")
    return _with_last_words(reason, f"{name}: the process that ran SUMO ended with {exited.exit_code}", directory)


def _with_last_words(reason: FailureReason.ValueType, message: str, directory: Path) -> Failure:
    words = last_words(directory / SUMO_LOG)
    return Failure(
        reason=reason, message=words.message or message, last_words=words.lines, file=words.file, line=words.line
    )
