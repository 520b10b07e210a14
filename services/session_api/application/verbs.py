"""The verbs of a session that exists, put together."""

from dataclasses import dataclass
from datetime import timedelta

from runtime.blobs import Blobs
from session_api.application.append_command import AppendCommand
from session_api.application.apply_intervention import ApplyIntervention
from session_api.application.begin_log import BeginLog
from session_api.application.delete_session import DeleteSession
from session_api.application.end_session import EndSession
from session_api.application.explain_session import ExplainSession
from session_api.application.fork_session import ForkSession
from session_api.application.keep_checkpoint import KeepCheckpoint
from session_api.application.pace_session import PaceSession
from session_api.application.places import Places
from session_api.application.read_outcome import ReadOutcome
from session_api.application.replay_session import ReplaySession
from session_api.application.restart_session import RestartSession
from session_api.application.resume_session import ResumeSession
from session_api.application.rollback_session import RollbackSession
from session_api.application.start_session import StartSession
from session_api.application.suspend_session import SuspendSession
from session_api.application.tell_parent import TellParent
from session_api.application.update_session import UpdateSession
from session_api.gateways.fleet import Fleet
from session_api.gateways.replays import Replays
from session_api.gateways.scenarios_sql import Scenarios


@dataclass(frozen=True, slots=True)
class Verbs:
    """One use case each."""

    start: StartSession
    suspend: SuspendSession
    resume: ResumeSession
    restart: RestartSession
    rollback: RollbackSession
    end: EndSession
    update: UpdateSession
    checkpoints: KeepCheckpoint
    fork: ForkSession
    intervene: ApplyIntervention
    pace: PaceSession
    delete: DeleteSession
    replay: ReplaySession
    explain: ExplainSession

    @classmethod
    def of(
        cls,
        append: AppendCommand,
        *,
        begin: BeginLog,
        scenarios: Scenarios,
        blobs: Blobs,
        fleet: Fleet,
        replays: Replays,
        undelete_window: timedelta,
    ) -> "Verbs":
        """All of them, over the same log, places and checkpoints."""
        places = Places(append.reader, blobs)
        checkpoints = KeepCheckpoint(append, places, ReadOutcome(fleet.broker, append.js))
        return cls(
            start=StartSession(append),
            suspend=SuspendSession(append),
            resume=ResumeSession(append, places),
            restart=RestartSession(append, scenarios),
            rollback=RollbackSession(append, places),
            end=EndSession(append, places),
            update=UpdateSession(append, places, scenarios),
            checkpoints=checkpoints,
            fork=ForkSession(append, begin, places, checkpoints, TellParent(append), blobs),
            intervene=ApplyIntervention(append, fleet),
            pace=PaceSession(append),
            delete=DeleteSession(append, undelete_window),
            replay=ReplaySession(append, places, replays),
            explain=ExplainSession(append.sessions, fleet, append.place),
        )
