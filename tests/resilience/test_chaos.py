"""A short round of chaos, the same in every run of the tests. `make chaos` plays long ones."""

from pathlib import Path

import pytest

from resilience.chaos import ROUGH, sources, summary
from resilience.commands import VERBS
from resilience.history import dump
from resilience.round import play
from resilience.schedule import Climate, draw

SEED = 7
CLIMATE = Climate(
    duration_s=6.0, sessions=3, length_s=600.0, verbs=VERBS, orders_per_session=1.5, fault_every_s=1.0, victims=ROUGH
)


@pytest.mark.timeout(300)
async def test_a_round_of_chaos_leaves_every_log_as_it_should_be(tmp_path: Path) -> None:
    schedule = draw(SEED, CLIMATE)
    result = await play(tmp_path, schedule, CLIMATE, sources(real=False))
    if result.violations:
        dump(tmp_path / "history", result.history, result.violations, seed=SEED, schedule=schedule)
    assert result.violations == [], f"seed {SEED}, {summary(result)}; the history is in {tmp_path / 'history'}"
    assert result.compared == len(result.history.logs) >= len(schedule.wishes)
    assert sum(result.blows.values()) >= len(schedule.faults) // 2, "chaos that hits nothing shows nothing"
