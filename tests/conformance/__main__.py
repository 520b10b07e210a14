"""Runs the conformance cases in the languages that are there and prints a table.

    PYTHONPATH=tests:clients python -m conformance [--language go …] [--case 'cancel' …] [--no-build] [--list]
    PYTHONPATH=tests:clients python -m conformance --no-build --failed

Exit code 1 when a cell fails.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

# Processes are started from here while gRPC's threads run.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import contracts
from languages import Language, languages, ran

from conformance import bundles, examples, messages, table
from conformance.cases import Case, read
from conformance.play import FAIL, Cast, Cell, play
from conformance.scenes import known_to_all
from conformance.stacks import Stages

# Names of the cases that failed, one a line.
FAILED = Path(".conformance-failed")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the conformance cases.")
    parser.add_argument("--language", action="append", default=[], help="by its folder in clients/; all unless said")
    parser.add_argument("--case", action="append", default=[], help="pattern of case names; all unless said")
    parser.add_argument("--no-build", action="store_true", help="use the drivers as they are")
    parser.add_argument("--failed", action="store_true", help="only the cases that failed the last time")
    parser.add_argument("--list", action="store_true", help="only tell the cases")
    given = parser.parse_args()
    if given.failed:
        given.case = [f"^{re.escape(name)}$" for name in FAILED.read_text().splitlines()]
    cases = [case for case in read() if not given.case or any(re.search(it, case.name) for it in given.case)]
    if given.list:
        print("\n".join(f"{case.name}: {case.about}" for case in cases))
        return
    with_examples = not given.case or any(re.search(it, examples.NAME) for it in given.case)
    chosen = languages(given.language)
    missing = {it.name: it.missing for it in chosen if it.missing}
    there = [it for it in chosen if not it.missing and it.driver_run]
    broken = {} if given.no_build else build(there)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        rows = asyncio.run(run(cases, there, broken, Path(folder), with_examples=with_examples))
    print(table.text(rows, {it.folder: it.name for it in there}, missing))
    FAILED.write_text("\n".join(name for name, cells in rows.items() if table.failed({name: cells})))
    sys.exit(1 if table.failed(rows) or not rows else 0)


def build(there: list[Language]) -> dict[str, str]:
    """Build the drivers; why those did not that failed, by folder."""
    contracts.make(messages.DESCRIPTORS, [messages.HERE / "proto"])
    broken = {}
    for language in there:
        if not language.driver_build:
            continue
        begin = time.monotonic()
        succeeded, said = ran(language.driver_build, language.driver_folder)
        if not succeeded:
            broken[language.folder] = said[-1500:].strip()
        print(f"driver of {language.name}: built in {time.monotonic() - begin:.0f} s", flush=True)
    return broken


async def run(
    cases: list[Case], there: list[Language], broken: dict[str, str], folder: Path, *, with_examples: bool
) -> dict[str, dict[str, Cell]]:
    """All cells, by case and language."""
    bundles.make(folder / "bundles")
    rows: dict[str, dict[str, Cell]] = {case.name: {} for case in cases}
    fine = [it for it in there if it.folder not in broken]
    whole = {name: Cell(FAIL, f"the driver was not built: {why}") for name, why in broken.items()}
    cast = Cast(folder / "logs")
    async with AsyncExitStack() as held:
        stages = Stages(folder, held)

        async def chain(stack: str) -> None:
            stage = await stages.get(stack)
            stage.known |= await known_to_all(stage, folder / "bundles")
            for case in (it for it in cases if it.stack == stack):
                begin = time.monotonic()
                rows[case.name] = whole | await play(case, fine, stage, cast)
                print(f"{case.name}: {time.monotonic() - begin:.1f} s", flush=True)

        # What is killed and torn down is waited for most of the time: the other stacks are at work meanwhile.
        async with asyncio.TaskGroup() as group:
            for stack in {case.stack for case in cases}:
                group.create_task(chain(stack))
        if with_examples:
            stage = await stages.get("plain")
            rows[examples.NAME] = dict(whole)
            for language in fine:
                place = folder / "examples" / language.folder
                rows[examples.NAME][language.folder] = await examples.run(language, stage, folder / "bundles", place)
        for name, code in (await cast.end()).items():
            rows.setdefault("drivers end by themselves", {})[name] = Cell(FAIL, f"exit code {code}")
    return rows


if __name__ == "__main__":
    main()
