"""The seeds of a study as they are written: `1-10`, `[1, 2, 5-9]`, or `{first: 1, count: 10}`."""

import re
from collections.abc import Iterator

from milepost.yaml_messages import Places
from milepost.yaml_values import Placed

# The contract's limits.
MAX_SEEDS = 10_000
MAX_SEED = 2**31 - 1
_RANGE = re.compile(r"(\d{1,10})\s*(?:-|\.\.)\s*(\d{1,10})")


def seeds_of(value: Placed, places: Places, path: str) -> list[int]:
    """The seeds, in their order; notes none, too many, one twice."""
    seeds: list[int] = []
    seen: dict[int, Placed] = {}
    places.put(path, value)
    for numbers, stands in _parts(value):
        if len(seeds) + len(numbers) > MAX_SEEDS:
            stands.wrong(f"these are over {MAX_SEEDS} seeds")
            return seeds
        for seed in numbers:
            if not 0 <= seed <= MAX_SEED:
                stands.wrong(f"a seed is 0 to {MAX_SEED}, not {seed}")
                break
            if seed in seen:
                stands.wrong(f"seed {seed} is there twice")
                break
            seen[seed] = stands
            places.put(f"{path}[{len(seeds)}]", stands)
            seeds.append(seed)
    if not seeds:
        value.wrong("must hold at least one seed")
    return seeds


def _parts(value: Placed) -> Iterator[tuple[range, Placed]]:
    match value.value:
        case dict():
            given = value.mapping("first", "count", required=("count",))
            first = given["first"].whole() if "first" in given else 1
            count = given["count"].whole() if "count" in given else 0
            yield range(first, first + max(0, count)), value
        case list():
            for one in value.items():
                yield _part(one), one
        case None:
            return
        case _:
            yield _part(value), value


def _part(value: Placed) -> range:
    if isinstance(value.value, str):
        found = _RANGE.fullmatch(value.value.strip())
        if found is None:
            value.wrong(f"{value.value!r} is no seed and no range of seeds, such as 1-10")
            return range(0)
        return range(int(found[1]), int(found[2]) + 1)
    seed = value.whole()
    return range(seed, seed + 1)
