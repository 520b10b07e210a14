"""How sessions are named: `<yyyymmddhhmm>-<10 base32 characters>`, sortable by time, free of collisions."""

import base64
from datetime import datetime

STUDY_LABEL = "milepost.study"
"""Label of a session that names the study it belongs to."""
RANDOM_BYTES = 7
_RANDOM_CHARACTERS = 10


def session_id(created: datetime, randomness: bytes) -> str:
    """Id of a session created at `created` (UTC), from RANDOM_BYTES random bytes (50 bits are used)."""
    characters = base64.b32encode(randomness).decode().lower()[:_RANDOM_CHARACTERS]
    return f"{created:%Y%m%d%H%M}-{characters}"
