"""The example of each language's README, copied out as printed, runs."""

import asyncio
import re
import shutil
from pathlib import Path

from languages import Language, command, environment

from conformance.play import FAIL, NONE, PASS, Cell
from conformance.stacks import Stage

NAME = "the README's example"
# With the build of what it needs.
EXAMPLE_S = 300.0
_SAID = 1500


async def run(language: Language, stage: Stage, bundles: Path, folder: Path) -> Cell:
    """Run the first complete example of a README in a new folder, beside a scenario called `city`."""
    readme = language.client_folder / "README.md"
    if not language.example:
        return Cell(NONE, "its package's example is another language's")
    if not readme.exists():
        return Cell(FAIL, "there is no README")
    start = re.escape(language.example["fence"])
    fence = re.search(rf"^```{start}\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    if fence is None:
        return Cell(FAIL, f"{readme.name} shows no {language.example['fence']}")
    folder.mkdir(parents=True)
    (folder / language.example["file"]).write_text(fence[1])
    shutil.copytree(bundles / "city", folder / "city")
    words = [word.replace("{driver}", str(language.driver_folder)) for word in language.example["run"]]
    own = {name: value for name, value in environment().items() if not name.startswith("MILEPOST_")}
    process = await asyncio.create_subprocess_exec(
        *command(words),
        cwd=folder,
        env={**own, **stage.servers},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), EXAMPLE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Cell(FAIL, f"not done within {EXAMPLE_S:g} s")
    words_said = said.decode(errors="replace")
    if process.returncode != 0:
        return Cell(FAIL, f"exit code {process.returncode}: {words_said[-_SAID:].strip()}")
    # It shows a running simulation: numbers come out of it.
    if not re.search(r"\d", words_said):
        return Cell(FAIL, f"it printed {words_said!r}")
    return Cell(PASS)
