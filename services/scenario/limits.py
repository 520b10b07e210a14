"""Every limit a scenario has to keep, with its unit and the reason for the number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20

# The contract's own bounds (milepost/scenario/v1/scenario_service.proto).
MAX_FILES: Final = 2000
MAX_PATH_CHARS: Final = 500
# Of any file system a worker may have.
MAX_SEGMENT_BYTES: Final = 255
# Real scenarios nest folders three deep.
MAX_PATH_SEGMENTS: Final = 16
# SUMO's files nest elements at most six deep.
MAX_XML_DEPTH: Final = 32
# A bus that drives all day names some 100 KB of edges in one attribute.
MAX_ATTRIBUTE_CHARS: Final = 4 * MIB
# Per file; a net of all Germany has about 50 million.
MAX_XML_ELEMENTS: Final = 50_000_000
# XML of SUMO inflates 10 to 40 times, a bomb 1000 times.
MAX_INFLATE_RATIO: Final = 250
# Below this much inflated no ratio is looked at: tiny files of one repeated line are no bombs.
RATIO_FREE_BYTES: Final = 16 * MIB
# After decompression; SUMO itself needs some 10 GB of memory for a file of that size.
MAX_XML_BYTES: Final = 2048 * MIB
# Of a file in which a template binds values: it is read into a tree of some ten times its size.
MAX_BOUND_FILE_BYTES: Final = 128 * MIB
# Of one binding, and of all in one file: every phase of every signal of a city is some 20,000.
MAX_PLACES_PER_TARGET: Final = 20_000
MAX_PLACES: Final = 50_000
# Per rule; further ones are counted, not listed.
MAX_FINDINGS_PER_RULE: Final = 20


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bounds of one upload, checked while it is written, never by what it declares."""

    max_files: int = MAX_FILES
    # A city with a day of trips is about 200 MB.
    max_file_bytes: int = 1024 * MIB
    max_total_bytes: int = 2048 * MIB
    max_inflate_ratio: int = MAX_INFLATE_RATIO


@dataclass(frozen=True, slots=True)
class InspectionLimits:
    """Bounds of one inspection. Reading costs about 0.1 s of CPU per MB of XML."""

    cpu_s: int = 120
    wall_s: float = 180.0
    # The edge ids of the largest real nets take some 200 MB.
    memory_bytes: int = 2048 * MIB
    # Findings are bounded, so an honest report is far below this.
    report_bytes: int = 8 * MIB
