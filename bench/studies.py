"""How often studies are wrong: the same thing compared with itself on real runs, through the ranking as it is served.

One study runs two variants of four crossings on many seeds. Its runs are dealt out at random, each seed once a deal,
and judged as studies of their own: a variant against itself on disjoint seeds, ten times the same variant, and one
variant against the other on the same seeds, where the truth is the mean difference over all seeds.
"""

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.lines import told
from bench.stack import stack
from milepost.client import Milepost
from milepost.session.v1.session_pb2 import SessionSpec
from milepost.study.v1.study_pb2 import Cell, CellState, Design, FixedDesign, Objective, StudyBase, StudySpec, Variant
from milepost.study.v1.study_service_pb2 import CreateStudyRequest
from session_api.domain.study.model import Comparison, Question, Ranking, Result, Standing
from session_api.domain.study.ranking import rank

SEEDS = 800
"""Runs of each variant."""
DEALS = 10
"""Times the seeds are dealt out anew, where once gives too few comparisons for a rate."""
ERROR_RATE = 0.05
OBJECTIVE = "mean_time_loss_s"
_SIMULATED_S = 300
_DIFFERENT = {Comparison.BETTER, Comparison.WORSE}
# Streets that vehicles come from, and where they leave.
_WAYS = (("left0A0", "B0right0"), ("left1A1", "B1right1"), ("top0A1", "A0bottom0"), ("bottom1B0", "B1top1"))
_GOAL = f"at most {ERROR_RATE:.0%}, but for chance"

Values = Mapping[int, float]


async def measure() -> None:
    """Runs, then verdicts."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        config = await asyncio.to_thread(_write_crossings, Path(name))
        async with stack() as client:
            cells = await _run(client, config)
    told(f"{len(cells)} runs of {_SIMULATED_S} simulated seconds", f"{time.perf_counter() - began:.0f} s")
    base, denser = _values(cells, "base"), _values(cells, "denser")
    random_ = random.Random(1)
    _two_of_the_same((base, denser), 4, random_, deals=1)
    for seeds in (4, 10):
        _two_of_the_same((base, denser), seeds, random_, deals=DEALS)
    _many_of_the_same((base, denser), 10, 5, random_)
    for seeds in (4, 10):
        _coverage(base, denser, seeds, random_)


async def _run(client: Milepost, config: Path) -> list[Cell]:
    scenario = await client.scenarios.upload(config)
    denser = Variant(name="denser")
    denser.patch.options.add(name="scale", value="1.1")
    spec = StudySpec(
        base=StudyBase(scenario_digest=scenario.digest),
        variants=[Variant(name="base"), denser],
        seeds=range(1, SEEDS + 1),
        objective=Objective(expression=OBJECTIVE),
        design=Design(fixed=FixedDesign(), map_seeds=0),
        session=SessionSpec(end_time_s=_SIMULATED_S, interval_steps=100),
    )
    study = await client.studies.create(CreateStudyRequest(spec=spec))
    await client.studies.wait(study.study_id)
    return [cell async for cell in client.studies.cells(study.study_id)]


def _values(cells: Sequence[Cell], variant: str) -> Values:
    return {
        cell.seed: cell.value for cell in cells if cell.variant == variant and cell.state == CellState.CELL_STATE_DONE
    }


def _two_of_the_same(variants: Sequence[Values], seeds: int, random_: random.Random, *, deals: int) -> None:
    verdicts = [
        _judged([_on(values, hand[:seeds]), _on(values, hand[seeds:])]).variants[1].to_leader
        for values in variants
        for hand in _hands(values, 2 * seeds, random_, deals=deals)
    ]
    wrong = sum(one is not None and one.comparison in _DIFFERENT for one in verdicts)
    dealt = "no seed twice" if deals == 1 else f"{deals} deals"
    _share(f"A/A: called different, {seeds} against {seeds} seeds, {dealt}", wrong, len(verdicts), deals)


def _many_of_the_same(variants: Sequence[Values], many: int, seeds: int, random_: random.Random) -> None:
    rankings = [
        _judged([_on(values, hand[place * seeds : (place + 1) * seeds]) for place in range(many)])
        for values in variants
        for hand in _hands(values, many * seeds, random_)
    ]
    worse = sum(any(one.standing is Standing.DROPPED for one in ranking.variants) for ranking in rankings)
    to_baseline = [[one.to_baseline for one in ranking.variants if one.to_baseline] for ranking in rankings]
    different = sum(any(one.comparison in _DIFFERENT for one in pairs) for pairs in to_baseline)
    _share(f"{many} of the same, {seeds} seeds: any worse than the leader", worse, len(rankings), DEALS)
    _share(f"{many} of the same, {seeds} seeds: any unlike the baseline", different, len(rankings), DEALS)


def _coverage(base: Values, denser: Values, seeds: int, random_: random.Random) -> None:
    common = {seed: denser[seed] - value for seed, value in base.items() if seed in denser}
    truth = sum(common.values()) / len(common)
    found = []
    for hand in _hands(common, seeds, random_):
        ranking = _judged([_on(base, hand), _on(denser, hand)])
        found += [one.to_baseline for one in ranking.variants if one.to_baseline]
    held = sum(one.lower <= truth <= one.upper for one in found)
    wrong_way = sum(one.comparison in _DIFFERENT and (one.mean > 0) is not (truth > 0) for one in found)
    told(
        f"intervals holding the truth ({truth:+.2f} s), {seeds} common seeds",
        f"{held / len(found):.1%} of {len(found):,}; {wrong_way} called the wrong way",
        f"{1 - ERROR_RATE:.0%}",
    )


def _hands(values: Values, size: int, random_: random.Random, *, deals: int = DEALS) -> Iterator[list[int]]:
    """Seeds in hands of `size`; no seed twice in a deal."""
    for _ in range(deals):
        seeds = sorted(values)
        random_.shuffle(seeds)
        for begin in range(0, len(seeds) - size + 1, size):
            yield seeds[begin : begin + size]


def _on(values: Values, seeds: Sequence[int]) -> list[float]:
    return [values[seed] for seed in seeds]


def _judged(rows: Sequence[Sequence[float]]) -> Ranking:
    """The ranking of variants with these values, seed by seed; the first is the baseline."""
    names = tuple(f"v{number}" for number in range(len(rows)))
    seeds = tuple(range(len(rows[0])))
    question = Question(variants=names, seeds=seeds, baseline=names[0], objective=OBJECTIVE, error_rate=ERROR_RATE)
    results = [Result(name, seed, row[seed]) for name, row in zip(names, rows, strict=True) for seed in seeds]
    return rank(question, results)


def _share(name: str, wrong: int, of: int, deals: int) -> None:
    """With the standard deviation that the stated rate has in as many comparisons as one deal gives."""
    chance = (ERROR_RATE * (1 - ERROR_RATE) * deals / of) ** 0.5
    told(name, f"{wrong / of:.1%} of {of:,} (chance: ± {chance:.1%})", _GOAL)


def _write_crossings(folder: Path) -> Path:
    """Four crossings with signals, and vehicles that come by chance; its configuration."""
    net = folder / "crossings.net.xml"
    subprocess.run(
        [
            str(Path(sys.executable).with_name("netgenerate")),
            *("--grid", "--grid.number", "2", "--grid.length", "150", "--grid.attach-length", "150"),
            *("--default-junction-type", "traffic_light", "--no-turnarounds", "true"),
            *("--seed", "1", "--output-file", str(net)),
        ],
        check=True,
        capture_output=True,
    )
    flows = "".join(
        f'    <flow id="{start}" begin="0" end="{_SIMULATED_S}" period="exp(0.12)" from="{start}" to="{end}"/>\n'
        for start, end in _WAYS
    )
    (folder / "crossings.rou.xml").write_text(f"<routes>\n{flows}</routes>\n")
    config = folder / "crossings.sumocfg"
    config.write_text(
        "<configuration>\n"
        '    <input><net-file value="crossings.net.xml"/><route-files value="crossings.rou.xml"/></input>\n'
        f'    <time><begin value="0"/><end value="{_SIMULATED_S}"/></time>\n'
        "</configuration>\n"
    )
    return config
