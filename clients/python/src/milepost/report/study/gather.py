"""Everything the report of a study tells, asked of a server."""

from contextlib import aclosing
from datetime import datetime
from pathlib import Path

from milepost.client import Milepost
from milepost.report.study.gather_curves import curves_of
from milepost.report.study.gather_map import NoMap, difference_map
from milepost.report.study.model import DifferenceMap, StudyReport
from milepost.session.v1.session_pb2 import Session
from milepost.studies.written import written_study
from milepost.study.v1.study_pb2 import Study
from milepost.study.v1.study_service_pb2 import Decision

REPRODUCE = "milepost study run {file}"
# Digests that are told one by one; each variant's are in the study itself.
_MOST_SCENARIOS = 6


async def gather(client: Milepost, study_id: str, *, now: datetime, file: Path | None = None) -> StudyReport:
    """A report of a study as it is now. Its command runs `file`; None: the study as a file, which the report holds.

    Raises MilepostError.
    """
    study = await client.studies.get(study_id, full=True)
    ranking = await client.studies.ranking(study_id)
    cells = [cell async for cell in client.studies.cells(study_id, page_size=5000)]
    curves, sessions = await curves_of(client, ranking, cells)
    found: DifferenceMap | None = None
    why_no_map = ""
    try:
        found = await difference_map(client, study, ranking)
    except NoMap as reason:
        why_no_map = str(reason)
    return StudyReport(
        study=study,
        ranking=ranking,
        made=now,
        cells=cells,
        decisions=await _decisions(client, study),
        curves=curves,
        map=found,
        why_no_map=why_no_map,
        simulators=_simulators(sessions),
        reproduce=REPRODUCE.format(file="study.yaml" if file is None else file.as_posix()),
        study_file=written_study(study) if file is None else "",
        versions=_versions(study),
    )


async def _decisions(client: Milepost, study: Study) -> list[Decision]:
    """Those so far: a study that goes on tells them with its first message."""
    decisions: list[Decision] = []
    async with aclosing(client.studies.watch(study.study_id)) as messages:
        async for message in messages:
            decisions += message.decisions
            if message.study.seq >= study.seq:
                break
    return decisions


def _simulators(sessions: list[Session]) -> list[str]:
    told = {
        f"SUMO {one.execution.sumo_version}, C mathematics library {one.execution.libm_fingerprint[:12]}"
        for one in sessions
        if one.HasField("execution")
    }
    return sorted(told)


def _versions(study: Study) -> dict[str, str]:
    base = study.spec.base
    versions = {}
    if base.HasField("template"):
        versions["template"] = f"{base.template.name}, version {base.template.version}"
    scenarios = sorted({one.session.scenario_digest for one in study.variants} - {""})
    if scenarios:
        versions["scenarios"] = ", ".join(scenarios[:_MOST_SCENARIOS])
        if len(scenarios) > _MOST_SCENARIOS:
            versions["scenarios"] += f" and {len(scenarios) - _MOST_SCENARIOS} more"
    return versions
