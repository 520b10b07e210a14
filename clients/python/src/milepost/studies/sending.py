"""What a study's file needs stored before it is created, and the server's findings about it in the file's places."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from milepost.blobs import Blobs
from milepost.exceptions import InputFileError, MilepostError, NotFound, ScenarioFilesError
from milepost.scenario.v1.template_service_pb2 import CreateTemplateRequest
from milepost.scenarios import Scenarios
from milepost.studies.form import StudyFile
from milepost.templates import Templates

# Findings without violations, and the field of the request they are about.
_ABOUT = {
    "SCENARIO_FILES": "spec.base.scenario_digest",
    "SCENARIO_NOT_FOUND": "spec.base.scenario_digest",
    "TEMPLATE_NOT_FOUND": "spec.base.template",
    "SESSION_NOT_FOUND": "spec.base.session.session_id",
    "CHECKPOINT_NOT_FOUND": "spec.base.session.checkpoint_id",
    "TIME_NOT_REACHED": "spec.base.session.sim_time_s",
    "STUDY_EXISTS": "study_id",
}


class Sender:
    """Stores what a study's file needs: its scenario, the files of its variants, the template it makes."""

    def __init__(self, scenarios: Scenarios, templates: Templates, blobs: Blobs) -> None:
        self._scenarios = scenarios
        self._templates = templates
        self._blobs = blobs

    @asynccontextmanager
    async def sent(self, study: StudyFile, *, validate_only: bool = False) -> AsyncIterator[None]:
        """Within this, the study's request can be sent; what is refused within names places of the file.

        A template that was made for it is deleted again when it is refused, or only validated. Scenario and files
        stay: they are content that nobody need know of. Raises MilepostError.
        """
        made = kept = False
        template = study.template
        try:
            base = study.request.spec.base
            if study.scenario is not None:
                base.scenario_digest = (await self._scenarios.upload(study.scenario)).digest
            for file in study.files:
                ref = await self._blobs.upload(file.path)
                file.described.sha256, file.described.size_bytes = ref.sha256, ref.size_bytes
            if template is not None:
                made = not await self._has_template(template.name)
                await self._make_template(study, template)
            yield
            kept = not validate_only
        except MilepostError as refused:
            raise _placed(study, refused) from None
        finally:
            if template is not None and made and not kept:
                # It may have been refused itself.
                with suppress(NotFound):
                    await self._templates.delete(template.name)

    async def _has_template(self, name: str) -> bool:
        try:
            await self._templates.get(name)
        except NotFound:
            return False
        return True

    async def _make_template(self, study: StudyFile, request: CreateTemplateRequest) -> None:
        """Makes the study begin with its template."""
        request.scenario_digest = study.request.spec.base.scenario_digest
        template = (await self._templates.create(request)).template
        study.request.spec.base.template.name = template.name
        study.request.spec.base.template.version = template.version


def _placed(study: StudyFile, refused: MilepostError) -> MilepostError:
    """A refusal with its violations, or what it is about, as places of the file."""
    about = _ABOUT.get(refused.reason)
    if refused.reason == "FIELD_INVALID":
        found = [study.places.violation(one.field, one.description) for one in refused.violations]
    elif about is not None and not refused.violations:
        found = [study.places.violation(about, refused.message)]
    else:
        return refused
    # One value of a grid is wrong in many variants, and stands in the file once.
    found = list(dict.fromkeys(found))
    if isinstance(refused, ScenarioFilesError):
        return InputFileError(study.name, found)
    return type(refused)(refused.reason, refused.message, metadata=refused.metadata, violations=found)
