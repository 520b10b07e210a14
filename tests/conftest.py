"""Fixtures for every folder: a temporary folder, a real broker."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Processes are started from here while gRPC's threads run: its handlers of fork(2) would abort some of them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# Several processes share few cores: one whose threads spin for each other's turn takes it from them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A shell has what it starts in the background ignore Ctrl-C, and so would everything that is started from here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, str(Path(__file__).parent))

from broker import Broker, running_broker
from databases import KINDS

# Folders whose tests share a stack: one process of xdist's runs them all, and one stack is started.
ONE_STACK = ("tests/e2e", "tests/integration/client")


class _ByFileOrStack(LoadFileScheduling):
    """What is scheduled as one: a file, or a folder that shares a stack."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        folder = file.rpartition("/")[0]
        return folder if folder in ONE_STACK else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFileOrStack:
    """See ONE_STACK."""
    return _ByFileOrStack(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What says little of the database runs on the first kind alone, unless kinds were asked for."""
    if "MILEPOST_TEST_DATABASES" in os.environ:
        return
    left_out = [
        item
        for item in items
        if item.get_closest_marker("any_database")
        and isinstance(item, pytest.Function)
        and item.callspec.params["database"] != KINDS[0]
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder() -> Iterator[None]:
    """What this process's tests leave in the temporary folder is seen, and what others do there is not.

    Others may pass through: a database server runs as another user.
    """
    outer, folder = os.environ.get("TMPDIR"), Path(tempfile.mkdtemp(prefix="mt-"))
    folder.chmod(0o711)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    yield
    tempfile.tempdir = None
    os.environ.pop("TMPDIR")
    if outer is not None:
        os.environ["TMPDIR"] = outer
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A nats-server of this test's own."""
    async with running_broker(tmp_path / "broker") as running:
        yield running
