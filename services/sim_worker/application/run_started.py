"""What the log says of a process once SUMO has loaded the scene."""

from milepost.child.v1.child_pb2 import Started
from milepost.event.v1.event_pb2 import RunStarted
from milepost.session.v1.session_pb2 import Execution
from sim_worker.application.session import Session, Start


def run_started(
    session: Session, started: Started, start: Start, *, worker_id: str, libm_fingerprint: str
) -> RunStarted:
    """How the session is executed from now on, and what its process began from."""
    return RunStarted(
        execution=Execution(
            sumo_version=started.sumo_version,
            libm_fingerprint=libm_fingerprint,
            arguments=started.arguments,
            environment=started.environment,
            engine=session.past.spec.engine,
            processor=started.processor,
            worker_id=worker_id,
        ),
        begin_time_s=started.begin_time_s,
        step_length_s=started.step_length_s,
        start=start.kind,
        start_step=start.step,
    )
