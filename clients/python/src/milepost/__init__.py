"""Client, contracts, command line and all-in-one of Milepost: SUMO as a durable service.

    from milepost import Milepost

    async with Milepost.connect("127.0.0.1:7400") as client:
        scenario = await client.scenarios.upload(Path("city/run.sumocfg"))
        session = await client.sessions.run(SessionSpec(scenario_digest=scenario.digest, seed=1))

Names are loaded on first use: services and their child processes import only the contracts below this package
and must not get gRPC with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from milepost.client import Milepost
    from milepost.exceptions import MilepostError

__all__ = ["Milepost", "MilepostError"]

_HOME = {"Milepost": "milepost.client", "MilepostError": "milepost.exceptions"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(name)
