"""Plays one case with the drivers of all languages at once, beside the faults it asks for."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from languages import Language

from conformance import lost
from conformance.cases import Case, CaseStep, Variables, message
from conformance.driver import Driver, DriverDied
from conformance.faults import FAULTS
from conformance.judge import fault_of
from conformance.scenes import SCENES, unused_id
from conformance.stacks import Stage

PASS, FAIL, NONE = "pass", "FAIL", "n/a"
# Between two looks at what is to become so, seconds.
_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table: PASS, FAIL with what is wrong, or NONE with why it cannot be."""

    verdict: str
    why: str = ""


PASSED = Cell(PASS)


@dataclass
class Cast:
    """The drivers that are there, by stack and language; started when they are first needed."""

    logs: Path
    drivers: dict[tuple[str, str], Driver] = field(default_factory=dict)

    async def get(self, language: Language, stack: str, stage: Stage) -> Driver:
        """The driver of a language for a stack."""
        key = (stack, language.folder)
        if key not in self.drivers:
            log = self.logs / f"{language.folder}-{stack}.log"
            self.drivers[key] = await Driver.start(language, stage.servers, log)
        return self.drivers[key]

    async def lose(self, language: Language, stack: str) -> None:
        """One that may be anywhere is killed; the next case has a new one."""
        await self.drivers.pop((stack, language.folder)).kill()

    async def end(self) -> dict[str, int]:
        """Let all end; the exit codes that are not 0, by language."""
        codes = {key[1]: await driver.end() for key, driver in self.drivers.items()}
        self.drivers.clear()
        return {name: code for name, code in codes.items() if code}


async def play(case: Case, languages: list[Language], stage: Stage, cast: Cast) -> dict[str, Cell]:
    """What came of a case, by language."""
    try:
        made = await SCENES[case.scene](stage)
    except Exception as error:  # noqa: BLE001 - told in every cell of the row
        return {it.folder: Cell(FAIL, f"scene {case.scene}: {error!r}") for it in languages}
    async with asyncio.TaskGroup() as group:
        tasks = {it.folder: group.create_task(_one(case, it, stage, cast, made)) for it in languages}
        if case.meanwhile:
            group.create_task(_faults(case, stage, made, tasks))
    cells = {name: task.result() for name, task in tasks.items()}
    limited = {name: Cell(NONE, why) for name, why in case.limits.items() if cells.get(name, PASSED).verdict == FAIL}
    return cells | limited


async def _faults(case: Case, stage: Stage, made: dict[str, Any], tasks: dict[str, asyncio.Task[Cell]]) -> None:
    """The faults of a case. When they fail, which is no fault of any client, the session is ended all the same."""

    def watching() -> int:
        return sum(not task.done() for task in tasks.values())

    acting = asyncio.create_task(FAULTS[case.meanwhile](stage, made, watching))
    everybody = asyncio.gather(*tasks.values())
    try:
        await asyncio.wait({acting, everybody}, return_when=asyncio.FIRST_COMPLETED)
        if acting.done() and acting.exception() is not None:
            print(f"  {case.name}: {case.meanwhile}: {acting.exception()!r}", flush=True)
            await stage.client.sessions.cancel(made["session"])
    finally:
        acting.cancel()


async def _one(case: Case, language: Language, stage: Stage, cast: Cast, made: dict[str, Any]) -> Cell:
    variables = Variables(language.folder, {**stage.known, **made, "unused": unused_id()})
    for number, step in enumerate(case.steps, start=1):
        where = f"step {number} ({step.action})"
        try:
            driver = await cast.get(language, case.stack, stage)
            async with asyncio.timeout(case.timeout_s):
                cell = await _step(step, number, driver, variables, stage)
        except (DriverDied, TimeoutError, OSError) as error:
            if (case.stack, language.folder) in cast.drivers:
                await cast.lose(language, case.stack)
            why = f"no answer within {case.timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
            return Cell(FAIL, f"{where}: {why}")
        except Exception as error:  # noqa: BLE001 - a case that is written wrongly fails by itself, not the others
            return Cell(FAIL, f"{where}: {error!r}")
        if cell.verdict != PASS:
            return Cell(cell.verdict, f"{where}: {cell.why}" if cell.verdict == FAIL else cell.why)
    return Cell(PASS)


async def _step(step: CaseStep, number: int, driver: Driver, variables: Variables, stage: Stage) -> Cell:
    through = str(step.words.get("through", ""))
    door = await stage.door(through, driver.language.folder) if through else None
    until = asyncio.get_running_loop().time() + float(step.words.get("until_s", 0))
    while True:
        made = message(step, variables, str(number), door.target if door else {})
        if step.words.get("lost"):
            assert door
            outcome, times = await lost.do(made, driver, door, stage)
            if times != 1:
                return Cell(FAIL, f"its answer was lost, and it was done {times} times")
        else:
            outcome = await driver.do(made)
        if outcome.WhichOneof("result") == "unsupported":
            return Cell(NONE, outcome.unsupported.reason)
        fault = await fault_of(step, outcome, variables, stage)
        if not fault or asyncio.get_running_loop().time() >= until:
            return Cell(FAIL, fault) if fault else Cell(PASS)
        await asyncio.sleep(_AGAIN_S)
