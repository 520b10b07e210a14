# ruff: noqa: T201 - a program that tells its user
"""Rounds of chaos, one after the other, until the time is over or something is wrong.

    PYTHONPATH=tests python -m resilience.chaos --minutes 30 --seed 1

Round n of a call with seed s has seed s + n - 1; `--rounds 1 --seed 17` plays the seventeenth again.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from resilience.commands import VERBS
from resilience.faults import Victim
from resilience.history import dump
from resilience.round import Result, Source, play
from resilience.schedule import Climate, draw
from scenario.demo import CONFIG, demo_directory

_KEEP = Path(tempfile.gettempdir()) / "milepost-chaos-kept"
ROUGH = [victim for victim in Victim if victim is not Victim.DISK]
"""Victims of every machine; a disk that can be full takes a privilege."""


def sources(*, real: bool) -> list[Source]:
    """The bundled city and, where they are, small real ones."""
    found = [Source(demo_directory() / CONFIG, demo_directory() / "milton.net.xml.gz", 25200.0)]
    shared = os.environ.get("MILEPOST_SCENARIOS")
    if real and shared:
        for name, net, begin_s in (
            ("resco_cologne1", "cologne1.net.xml", 25200.0),
            ("resco_ingolstadt21", "ingolstadt21.net.xml", 57600.0),
            ("bologna_acosta", "acosta_buslanes.net.xml", 0.0),
        ):
            folder = Path(shared) / name
            if folder.is_dir():
                found.append(Source(folder / "run.sumocfg", folder / net, begin_s))
    return found


def main() -> int:
    """Play; 0 when nothing was wrong."""
    arguments = _arguments()
    # Whoever ends it wants it to clean up, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return asyncio.run(_play_all(arguments))


async def _play_all(arguments: argparse.Namespace) -> int:
    ground = sources(real=arguments.real)
    total: Counter[str] = Counter()
    deadline = time.monotonic() + arguments.minutes * 60
    for number in range(arguments.rounds):
        if time.monotonic() > deadline:
            break
        seed = arguments.seed + number
        climate = Climate(
            duration_s=arguments.duration,
            sessions=arguments.sessions,
            sources=len(ground),
            length_s=arguments.length,
            verbs=arguments.verbs,
            orders_per_session=arguments.orders,
            victims=arguments.victims,
            fault_every_s=arguments.every,
        )
        schedule = draw(seed, climate)
        with tempfile.TemporaryDirectory(prefix="milepost-chaos-", ignore_cleanup_errors=True) as folder:
            began = time.monotonic()
            try:
                result = await play(Path(folder), schedule, climate, ground)
            except BaseException:
                kept = arguments.keep / f"seed-{seed}"
                _keep_logs(Path(folder), kept)
                print(f"seed {seed}: the round itself broke; what the processes said is in {kept}")
                raise
            print(f"seed {seed}: {time.monotonic() - began:.0f} s, {summary(result)}", flush=True)
            total.update(result.blows)
            if result.violations:
                kept = arguments.keep / f"seed-{seed}"
                dump(kept, result.history, result.violations, seed=seed, climate=climate, schedule=schedule)
                _keep_logs(Path(folder), kept)
                print(f"VIOLATIONS of seed {seed}; the history is in {kept}")
                for violation in result.violations[:20]:
                    print(f"  {violation}")
                return 1
    print(f"no violation; faults: {dict(sorted(total.items()))}")
    return 0


def summary(result: Result) -> str:
    """A round in a line."""
    ends = Counter(log[-1].kind.removeprefix("session_") for log in result.history.logs.values() if log)
    counts = {
        "sessions": dict(ends),
        "claims": result.count("attempt_claimed"),
        "recovered": result.count("session_recovered"),
        "commands": result.count("command_requested"),
        "compared": result.compared,
        "watches": len(result.history.watches),
        "faults": dict(sorted(result.blows.items())),
    }
    return ", ".join(f"{name} {value}" for name, value in counts.items())


def _keep_logs(folder: Path, kept: Path) -> None:
    """What the processes said."""
    kept.mkdir(parents=True, exist_ok=True)
    for log in (folder / "stack" / "data" / "logs").glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())


def _names(kind: Sequence[str]) -> str:
    return ", ".join(str(one) for one in kind)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="resilience.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no round after this")
    parser.add_argument("--rounds", type=int, default=10_000, help="play at most this many")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--duration", type=float, default=25.0, help="seconds of faults in a round")
    parser.add_argument("--sessions", type=int, default=12, help="sessions of a round")
    parser.add_argument("--length", type=float, default=1800.0, help="simulated seconds of a session")
    parser.add_argument("--orders", type=float, default=1.0, help="commands per session, on average")
    parser.add_argument("--every", type=float, default=1.2, help="seconds between two faults, on average")
    parser.add_argument("--real", action="store_true", help="real scenarios from MILEPOST_SCENARIOS, too")
    parser.add_argument("--keep", type=Path, default=_KEEP, help="where a failed round's history goes")
    parser.add_argument("--verbs", type=lambda text: text.split(","), default=list(VERBS), help=_names(VERBS))
    parser.add_argument(
        "--victims",
        type=lambda text: [Victim(name) for name in text.split(",")],
        default=ROUGH,
        help=_names(list(Victim)),
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
