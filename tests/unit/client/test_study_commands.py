"""`milepost study …` against a server that says what a test scripts: output, exit codes."""

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from typer.testing import CliRunner

from milepost.cli.main import app
from milepost.kpi.v1.kpi_pb2 import Kpis
from milepost.report.study.words import standing
from milepost.study.v1 import study_service_pb2 as pb
from milepost.study.v1.study_pb2 import (
    Cell,
    CellState,
    Comparison,
    PairedDifference,
    RankedVariant,
    Ranking,
    SafetyFinding,
    Standing,
    Study,
    StudyEnd,
    StudyProgress,
    StudySpec,
    StudyState,
)
from milepost.study.v1.study_service_pb2_grpc import StudyServiceServicer, add_StudyServiceServicer_to_server

NAN, INFINITY = float("nan"), float("inf")
RANKING = Ranking(
    study_id="s",
    answer="c60 is the best.",
    decided=True,
    baseline="base",
    method="paired t, Holm",
    variants=[
        RankedVariant(
            rank=1,
            name="c60 [fast]",
            standing=Standing.STANDING_LEADING,
            runs=4,
            mean=41.234,
            standard_deviation=1.26,
            probability_best=0.97,
            elo=1588.4,
            to_baseline=PairedDifference(
                other="base", seeds=4, mean=-3.51, lower=-4.2, upper=-2.8, comparison=Comparison.COMPARISON_BETTER
            ),
        ),
        RankedVariant(rank=2, name="base", runs=4, failed=1, mean=44.7, standard_deviation=2.5, probability_best=0.03),
        RankedVariant(
            rank=3,
            name="c40",
            standing=Standing.STANDING_INFEASIBLE,
            runs=1,
            mean=50.0,
            standard_deviation=NAN,
            to_baseline=PairedDifference(other="base", seeds=1, mean=6, lower=-INFINITY, upper=INFINITY),
            findings=[SafetyFinding(constraint="collisions <= 0", seeds=[1, 2, 3, 4, 5, 6, 7])],
        ),
    ],
)
CELLS = [
    Cell(variant="base", seed=1, state=CellState.CELL_STATE_DONE, value=44.5, cached=True, kpis=Kpis(arrived=7)),
    Cell(variant="c40", seed=1, state=CellState.CELL_STATE_FAILED, failure="no [network]", broken_constraints=[0]),
]


def study(state: StudyState.ValueType, done: int, **fields: object) -> Study:
    progress = StudyProgress(cells=12, done=done, cached=3, running=2, waiting=7 - done if done < 7 else 0)
    return Study(study_id="s", display_name="cycles", state=state, progress=progress, **fields)


class Scripted(StudyServiceServicer):
    """A study that runs once around."""

    def __init__(self) -> None:
        self.end = StudyState.STUDY_STATE_COMPLETED
        self.created: list[pb.CreateStudyRequest] = []
        self.deleted: list[str] = []

    def CreateStudy(self, request, _context):  # noqa: N802
        self.created.append(request)
        return pb.CreateStudyResponse(study=study(StudyState.STUDY_STATE_RUNNING, 0))

    def WatchStudy(self, _request, _context):  # noqa: N802
        yield pb.WatchStudyResponse(study=study(StudyState.STUDY_STATE_RUNNING, 3))
        yield pb.WatchStudyResponse(
            study=study(self.end, 12, end=StudyEnd.STUDY_END_DECIDED),
            decisions=[pb.Decision(seq=7, text="c40 is dropped: it breaks [collisions <= 0]")],
            ranking=RANKING,
        )

    def GetRanking(self, _request, _context):  # noqa: N802
        return pb.GetRankingResponse(ranking=RANKING)

    def GetStudy(self, _request, _context):  # noqa: N802
        spec = StudySpec(seeds=[1, 2])
        spec.base.scenario_digest = "ab" * 32
        return pb.GetStudyResponse(study=study(self.end, 12, spec=spec))

    def ListStudies(self, _request, _context):  # noqa: N802
        return pb.ListStudiesResponse(studies=[study(self.end, 12)])

    def ListCells(self, request, _context):  # noqa: N802
        page = 1 if request.page_token else 0
        return pb.ListCellsResponse(cells=[CELLS[page]], next_page_token="" if page else "more")

    def DeleteStudy(self, request, _context):  # noqa: N802
        self.deleted.append(request.study_id)
        return pb.DeleteStudyResponse()

    def CancelStudy(self, _request, _context):  # noqa: N802
        self.end = StudyState.STUDY_STATE_CANCELLED
        return pb.CancelStudyResponse(study=study(StudyState.STUDY_STATE_CANCELLING, 3))


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def milepost(scripted: Scripted) -> Iterator:
    running = grpc.server(ThreadPoolExecutor(4))
    add_StudyServiceServicer_to_server(scripted, running)
    address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()

    def run(*arguments: object):
        words = [str(one) for one in arguments]
        command = ["study", *words, "--server", address, "--event-store", address]
        return CliRunner().invoke(app, command, env={"COLUMNS": "160"})

    yield run
    running.stop(None).wait()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cycles.yaml"
    path.write_text(
        f"base: {{scenario: {'ab' * 32}}}\nseeds: 1-3\n"
        "objective: {minimise: mean_time_loss_s}\nvariants: [{name: a}]\n"
    )
    return path


def test_a_run_tells_its_decisions_its_answer_and_the_ranking(milepost, scripted, file):
    ran = milepost("run", file, "--id", "mine", "--no-cache")
    assert ran.exit_code == 0, ran.output
    assert scripted.created[0].study_id == "mine"
    assert scripted.created[0].spec.design.no_cache
    assert "c40 is dropped: it breaks [collisions <= 0]" in ran.stderr
    assert "3/12 done, 3 cached, 2 running, 4 waiting" in ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[:2] == ["study s: completed: it is decided; 12/12 done, 3 cached, 2 running", "c60 is the best."]
    rows = {words[0]: words for words in (line.split() for line in lines[3:6])}
    assert " ".join(rows["1"]) == "1 c60 [fast] 41.2 ± 1.3 4 -3.5 better [-4.2, -2.8] 97% 1588 leading"
    assert " ".join(rows["2"]).startswith("2 base 44.7 ± 2.5 4 (1 failed) –")
    assert "50.0 ± ?" in ran.stdout
    assert "[?, ?]" in ran.stdout
    assert "collisions <= 0 broken on seeds 1, 2, 3, 4, 5 and 2 more" in ran.stdout
    assert "\x1b" not in ran.output


def test_programs_get_one_object_and_a_cancelled_study_is_a_failure(milepost, scripted, file):
    ran = milepost("run", file, "--output", "json")
    assert json.loads(ran.stdout)["ranking"]["variants"][2]["to_baseline"]["lower"] == "-Infinity"
    scripted.end = StudyState.STUDY_STATE_CANCELLED
    ended = milepost("watch", "s", "--output", "json")
    assert [json.loads(line)["study"]["progress"]["done"] for line in ended.stdout.splitlines()] == ["3", "12"]
    assert ended.exit_code == 1


def test_a_study_can_be_left_alone_or_only_checked(milepost, scripted, file):
    assert milepost("run", file, "--no-watch").stdout == "s\n"
    assert milepost("run", file, "--validate-only").stdout == "valid: 1 variant on 3 seeds\n"
    assert [request.validate_only for request in scripted.created] == [False, True]


def test_a_file_that_is_wrong_is_told_line_by_line(milepost, scripted, file):
    file.write_text(file.read_text().replace("1-3", "[]").replace("minimise", "minimize"))
    ran = milepost("run", file)
    assert ran.exit_code == 1
    assert ran.stderr.splitlines() == [
        "error: INPUT_FILE: 3 findings",
        "  cycles.yaml:2:1: seeds: must hold at least one seed",
        "  cycles.yaml:3:1: objective: must say what is better: minimise or maximise",
        "  cycles.yaml:3:13: objective.minimize: unknown key; did you mean minimise?",
    ]
    assert not scripted.created


def test_cells_are_told_as_a_table_as_csv_and_as_json(milepost):
    table = milepost("cells", "s")
    rows = list(csv.DictReader(io.StringIO(milepost("cells", "s", "--csv").stdout)))
    lines = [json.loads(line) for line in milepost("cells", "s", "--output", "json").stdout.splitlines()]
    assert "cached" in table.stdout
    assert "no [network]; breaks constraint 1" in table.stdout
    assert [(row["variant"], row["value"], row["arrived"], row["failure"]) for row in rows] == [
        ("base", "44.5", "7", ""),
        ("c40", "", "", "no [network]"),
    ]
    assert [line["seed"] for line in lines] == [1, 1]


def test_studies_are_deleted_one_after_the_other(milepost, scripted):
    assert milepost("delete", "s", "t").stdout == "study s deleted\nstudy t deleted\n"
    assert scripted.deleted == ["s", "t"]


def test_who_lost_is_dropped_only_where_that_cost_it_seeds():
    lost = RankedVariant(standing=Standing.STANDING_DROPPED)
    assert standing(lost) == "beaten"
    lost.dropped_after_rung = 1
    assert standing(lost) == "dropped"
    # A word for each, in the table and on the page alike.
    words = {standing(RankedVariant(standing=value)) for value in Standing.values() if value}
    assert len(words) == len(Standing.values()) - 1
    assert not [word for word in words if " " in word]


def test_studies_are_listed_shown_ranked_and_cancelled(milepost):
    assert "cycles" in milepost("list").stdout
    assert "completed" in milepost("show", "s").stdout
    assert milepost("show", "s", "--yaml").stdout.startswith("name: cycles\nbase:\n  scenario: abab")
    assert milepost("ranking", "s", "--limit", "1").stdout.count("±") == 2
    assert milepost("cancel", "s").stdout == "study s: cancelled\n"
