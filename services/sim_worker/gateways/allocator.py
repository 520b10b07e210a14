"""The memory allocator of the processes that simulate.

SUMO allocates all the time: with tcmalloc instead of the C library's allocator a city takes about an eighth less of
processor time. What is computed stays the same, bit for bit.
"""

import functools
from collections.abc import Mapping
from ctypes.util import find_library
from pathlib import Path
from typing import Final

DEFAULT: Final = "tcmalloc_minimal"
"""The library without a profiler, in Debian's `libtcmalloc-minimal4`."""

LIBC: Final = "libc"
"""The allocator of the C library."""


@functools.cache
def preload(allocator: str) -> Mapping[str, str]:
    """The environment that loads it first, by its name or path; empty where it is not installed, and for `libc`."""
    if allocator == LIBC:
        return {}
    library = allocator if Path(allocator).is_file() else find_library(allocator)
    return {"LD_PRELOAD": library} if library else {}
