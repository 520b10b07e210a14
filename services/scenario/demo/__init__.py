"""The demo city: a made-up town at its morning peak, small enough to ship and busy enough to look at.

`make_city.py` makes it: an hour in a town of 120 crossings by the river Mile, with signals, buses and detectors.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

CONFIG: Final = "milton.sumocfg"


def demo_directory() -> Path:
    """The folder that holds the city, and nothing else; `CONFIG` in it is what to run."""
    return Path(str(files(__package__) / "city"))
