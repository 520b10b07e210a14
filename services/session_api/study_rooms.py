"""What studies are made of: wired here, so that `main` stays readable."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from nats.js import JetStreamContext
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.blobs import Blobs
from session_api.adapters.study_service import StudyServiceAdapter
from session_api.application.admission import Admission
from session_api.application.create_session import CreateSession
from session_api.application.forget_results import ForgetResults
from session_api.application.places import Places
from session_api.application.study.cancel_study import CancelStudy
from session_api.application.study.check_interventions import CheckInterventions
from session_api.application.study.create_study import CreateStudy
from session_api.application.study.delete_study import DeleteStudy
from session_api.application.study.drop_studies import DropStudies
from session_api.application.study.judge import Judge
from session_api.application.study.plan_study import PlanStudy
from session_api.application.study.run_studies import RunStudies
from session_api.application.study.shown_studies import ShownStudies
from session_api.application.study.study_base import FindBase
from session_api.application.study.study_logs import StudyLogs
from session_api.application.study.study_resource import ShowStudy
from session_api.application.study.watch_study import WatchStudy
from session_api.application.variant_scenarios import VariantScenarios
from session_api.application.verbs import Verbs
from session_api.gateways.fleet import Fleet
from session_api.gateways.results_sql import Results
from session_api.gateways.sessions_sql import Sessions
from session_api.gateways.studies_sql import Studies
from session_api.gateways.study_sessions import StudySessions
from session_log.reader import LogReader


@dataclass(frozen=True, slots=True)
class StudyRooms:
    """The use cases of studies, over one log and one list."""

    create: CreateStudy
    cancel: CancelStudy
    delete: DeleteStudy
    watch: WatchStudy
    run: RunStudies
    drop: DropStudies
    forget: ForgetResults

    @classmethod
    def of(
        cls,
        *,
        js: JetStreamContext,
        reader: LogReader,
        blobs: Blobs,
        engine: AsyncEngine,
        sessions: Sessions,
        variants: VariantScenarios,
        create: CreateSession,
        verbs: Verbs,
        fleet: Fleet,
        pool: str,
        share_results: bool,
        keep_results: timedelta | None,
        stop: asyncio.Event,
    ) -> "StudyRooms":
        """All of them; `stop` is set when the service is to end."""
        logs, studies, judge = StudyLogs(js, reader, blobs), Studies(engine, sessions), Judge()
        study_sessions, results = StudySessions(engine), Results(engine, sessions, shared=share_results)
        show = ShowStudy(study_sessions)
        run = RunStudies(
            logs,
            create,
            verbs.fork,
            verbs.end,
            sessions=sessions,
            study_sessions=study_sessions,
            studies=studies,
            results=results,
            fleet=fleet,
            judge=judge,
        )
        plan = PlanStudy(
            variants,
            FindBase(reader, Places(reader, blobs)),
            CheckInterventions(blobs),
            pool,
        )
        shown = ShownStudies(logs)
        return cls(
            CreateStudy(plan, shown, studies, blobs, Admission(js), run),
            CancelStudy(shown, studies, show, run),
            DeleteStudy(shown, studies),
            WatchStudy(shown, show, judge, stop),
            run,
            DropStudies(logs, studies, study_sessions, verbs.delete),
            ForgetResults(results, keep_results),
        )

    def adapter(self) -> StudyServiceAdapter:
        """The service."""
        return StudyServiceAdapter(
            self.create,
            self.cancel,
            self.watch,
            self.delete,
            self.watch.shown,
            self.watch.show,
            self.run.judge,
            self.run.studies,
        )
