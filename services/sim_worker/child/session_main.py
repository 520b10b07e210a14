"""A child from the fork to its `_exit`."""

import os
import signal
import socket
from typing import Final, NoReturn

from milepost.child.v1.child_pb2 import Failed, FromChild, Plan
from milepost.session.v1.session_pb2 import Engine as EngineKind
from sim_worker.child.confine import (
    close_all_but,
    die_with,
    drop_privileges,
    enter_directory,
    flush_c_streams,
    limit_resources,
)
from sim_worker.child.copies import Copies
from sim_worker.child.engine import Engine, EngineUnavailable
from sim_worker.child.installation import open_home
from sim_worker.child.libsumo_engine import IMPORT_FAILURE, LibsumoEngine
from sim_worker.child.script import PlanRefused
from sim_worker.child.session_loop import SessionLoop
from sim_worker.child.traci_engine import TraciEngine
from sim_worker.child.worker_link import WorkerGone, WorkerLink

# The worker sends the plan right after the launch, seconds.
_PLAN_DEADLINE_S: Final = 30.0
_EXIT_DONE: Final = 0
_EXIT_FAILED: Final = 1
_EXIT_WORKER_GONE: Final = 2


def run_child(*, launch_id: int, directory_fd: int, stream_fd: int, packets_fd: int, zygote_pid: int) -> NoReturn:
    """Never returns and never unwinds into the zygote it was forked from."""
    code = _EXIT_FAILED
    try:
        # What the zygote has set up to hear of the end of its children is its own.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        enter_directory(directory_fd)
        close_all_but([stream_fd, packets_fd])
        link = WorkerLink(socket.socket(fileno=stream_fd), socket.socket(fileno=packets_fd))
        plan = _first_message(link)
        limit_resources(file_size_bytes=plan.file_size_limit_bytes, niceness=plan.niceness)
        code = _run(plan, link, launch_id=launch_id, zygote_pid=zygote_pid)
        flush_c_streams()
        link.leave()
    except WorkerGone:
        code = _EXIT_WORKER_GONE
    finally:
        flush_c_streams()
        os._exit(code)


def _run(plan: Plan, link: WorkerLink, *, launch_id: int, zygote_pid: int) -> int:
    loop: SessionLoop | None = None
    try:
        open_home()
        engine = _engine(plan)
        drop_privileges(launch_id)
        die_with(zygote_pid)
        loop = SessionLoop(plan, engine, link, Copies(engine, link, zygote_pid=zygote_pid))
        loop.run()
    except WorkerGone:
        raise
    except Exception as error:  # noqa: BLE001 one of the three places: whatever it is becomes Failed
        # SUMO's words must be in the log before anybody is told to read them.
        flush_c_streams()
        failed = Failed(
            loading=loop is None or loop.loading,
            message=str(error) or repr(error),
            step=loop.step if loop else 0,
            sim_time_s=loop.sim_time_s if loop else 0.0,
            engine_unavailable=isinstance(error, EngineUnavailable),
            plan_refused=isinstance(error, PlanRefused),
        )
        link.send(FromChild(failed=failed))
        return _EXIT_FAILED
    return _EXIT_DONE


def _engine(plan: Plan) -> Engine:
    """The engine of the plan, before privileges are dropped: it may need some. Raises EngineUnavailable."""
    if plan.engine == EngineKind.ENGINE_TRACI:
        return TraciEngine()
    if IMPORT_FAILURE:
        raise EngineUnavailable(f"libsumo: {IMPORT_FAILURE}")
    return LibsumoEngine()


def _first_message(link: WorkerLink) -> Plan:
    return link.receive_first(wait_s=_PLAN_DEADLINE_S).plan
