"""How sessions are named."""

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from session_api.domain.session_ids import RANDOM_BYTES, session_id


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
)
def test_an_id_sorts_by_time_and_fits_the_contract(created: datetime, randomness: bytes) -> None:
    name = session_id(created.replace(tzinfo=UTC), randomness)
    assert re.fullmatch(r"[0-9]{12}-[a-z2-7]{10}", name)
    assert name.startswith(f"{created:%Y%m%d%H%M}")


def test_different_randomness_gives_different_ids() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({session_id(now, n.to_bytes(2, "big") + bytes(5)) for n in range(1000)}) == 1000
