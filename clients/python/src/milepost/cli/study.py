"""`milepost study …`: which of these is better, and how sure is that? docs/studies.md has the form."""

import asyncio
import csv
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from milepost.cli.command import Target, console, fail_line
from milepost.cli.json_form import json_line
from milepost.cli.study_progress import display, follow, progress_words
from milepost.cli.study_tables import (
    CELL_COLUMNS,
    KPI_COLUMNS,
    cell_row,
    cells_table,
    ranking_table,
    state_words,
    studies_table,
    study_table,
)
from milepost.client import Milepost
from milepost.studies.form import read_study
from milepost.studies.written import written_study
from milepost.study.v1.study_pb2 import Cell, Ranking, Study, StudySpec, StudyState
from milepost.study.v1.study_service_pb2 import DeleteStudyRequest, ListStudiesResponse, WatchStudyResponse

STUDY = typer.Argument(metavar="STUDY", help="The study's id.")
# Variants that are shown below a run, and cells; all are in `ranking` and `cells`.
_SHOWN = 30


async def run(
    target: Target,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study as YAML (docs/studies.md).")],
    scenario: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The scenario, instead of the one that the file names.")
    ] = None,
    study_id: Annotated[str, typer.Option("--id", help="An id of your own; by default the server makes one.")] = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Simulate also what has a stored result.")] = False,
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Check everything, run nothing.")] = False,
    watch_: Annotated[bool, typer.Option("--watch/--no-watch", help="Follow it to its end, or leave at once.")] = True,
) -> None:
    """Run a study and follow it to its ranking. Ctrl-C leaves it running."""
    written = read_study(file, scenario=scenario)
    if study_id:
        written.request.study_id = study_id
    if no_cache:
        written.request.spec.design.no_cache = True
    async with target.client() as client:
        study = await client.studies.create_from(written, validate_only=validate_only)
        if validate_only or not watch_:
            if target.json:
                print(json_line(study))
            else:
                print(f"valid: {_size_words(written.request.spec)}" if validate_only else study.study_id)
            return
        if not target.json:
            sys.stderr.write(f"study {study.study_id}: {_size_words(written.request.spec)}\n")
        study, ranking = await _to_the_end(client, target, study.study_id)
    if target.json:
        print(json_line(WatchStudyResponse(study=study, ranking=ranking)))
    else:
        _print_end(study, ranking)
    _leave_unless_completed(study)


async def watch(
    target: Target,
    study_id: Annotated[str, STUDY],
    after: Annotated[int, typer.Option(min=0, help="Decisions after this event only.")] = 0,
) -> None:
    """Follow a study to its end. JSON: a line per change. Ctrl-C leaves it running."""

    def tell(message: WatchStudyResponse) -> None:
        print(json_line(message), flush=True)

    async with target.client() as client:
        if target.json:
            study = await follow(
                client, study_id, display(quiet=True, stack=ExitStack()), after_seq=after, on_message=tell
            )
        else:
            study, ranking = await _to_the_end(client, target, study_id, after_seq=after)
            _print_end(study, ranking)
    _leave_unless_completed(study)


async def ranking(
    target: Target,
    study_id: Annotated[str, STUDY],
    limit: Annotated[int | None, typer.Option(min=1, help="The best so many only.")] = None,
) -> None:
    """Tell what the runs so far say, also while it runs."""
    async with target.client() as client:
        found = await client.studies.ranking(study_id)
    if target.json:
        print(json_line(found))
    else:
        _print_ranking(found, limit)


async def list_(target: Target, limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50) -> None:
    """List studies, newest first. JSON: one object with `studies`."""
    found = ListStudiesResponse()
    async with target.client() as client:
        async for study in client.studies.list():
            found.studies.append(study)
            if len(found.studies) == limit:
                break
    if target.json:
        print(json_line(found))
    else:
        console().print(studies_table(found.studies))


async def show(
    target: Target,
    study_id: Annotated[str, STUDY],
    yaml: Annotated[bool, typer.Option("--yaml", help="As the file that runs the same study again.")] = False,
) -> None:
    """Show what there is about a study."""
    async with target.client() as client:
        study = await client.studies.get(study_id, full=True)
    if yaml:
        print(written_study(study), end="")
    elif target.json:
        print(json_line(study))
    else:
        console().print(study_table(study))


async def cancel(
    target: Target,
    study_id: Annotated[str, STUDY],
    comment: Annotated[str, typer.Option(help="Why, for the log.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until none of its sessions runs, or not.")] = True,
) -> None:
    """End a study; what was found so far stays."""
    async with target.client() as client:
        study = await client.studies.cancel(study_id, comment=comment)
        if wait:
            study = await client.studies.wait(study_id)
    if target.json:
        print(json_line(study))
    else:
        print(f"study {study.study_id}: {state_words(study)}")


async def delete(
    target: Target, study_ids: Annotated[list[str], typer.Argument(metavar="STUDY…", help="Studies that have ended.")]
) -> None:
    """Delete studies that have ended, for good, and their sessions. Stored results stay."""
    async with target.client() as client:
        for study_id in study_ids:
            await client.studies.delete(study_id)
            print(json_line(DeleteStudyRequest(study_id=study_id)) if target.json else f"study {study_id} deleted")


async def cells(
    target: Target,
    study_id: Annotated[str, STUDY],
    csv_: Annotated[bool, typer.Option("--csv", help="As CSV, with all KPIs.")] = False,
) -> None:
    """List the cells that are over: one variant on one seed each. JSON: a line per cell."""
    found: list[Cell] = []
    async with target.client() as client:
        if csv_:
            rows = csv.writer(sys.stdout)
            rows.writerow((*CELL_COLUMNS, *KPI_COLUMNS))
        async for cell in client.studies.cells(study_id):
            if csv_:
                rows.writerow(cell_row(cell))
            elif target.json:
                print(json_line(cell))
            else:
                found.append(cell)
    if not csv_ and not target.json:
        console().print(cells_table(found))


async def _to_the_end(client: Milepost, target: Target, study_id: str, *, after_seq: int = 0) -> tuple[Study, Ranking]:
    with ExitStack() as stack:
        shown = display(quiet=target.json, stack=stack)
        try:
            study = await follow(client, study_id, shown, after_seq=after_seq)
        except asyncio.CancelledError:
            stack.close()
            sys.stderr.write(
                f"study {study_id} goes on; watch it with: milepost study watch {study_id}, "
                f"end it with: milepost study cancel {study_id}\n"
            )
            raise
    return study, await client.studies.ranking(study_id)


def _size_words(spec: StudySpec) -> str:
    variants, seeds = len(spec.variants), len(spec.seeds)
    return f"{variants:,} variant{'s' * (variants != 1)} on {seeds:,} seed{'s' * (seeds != 1)}"


def _print_end(study: Study, found: Ranking) -> None:
    print(f"study {study.study_id}: {state_words(study)}; {progress_words(study)}")
    _print_ranking(found, _SHOWN)
    if len(found.variants) > _SHOWN:
        print(f"and {len(found.variants) - _SHOWN} more: milepost study ranking {study.study_id}")


def _print_ranking(found: Ranking, limit: int | None) -> None:
    print(found.answer)
    console().print(ranking_table(found, limit=limit))
    if found.method:
        print(found.method)


def _leave_unless_completed(study: Study) -> None:
    if study.state != StudyState.STUDY_STATE_COMPLETED:
        fail_line(f"study {study.study_id} is {state_words(study)}")
        raise typer.Exit(1)
