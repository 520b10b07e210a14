"""Follow a study: how far it is, what was decided, what the runs so far say."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from milepost.errors.v1 import errors_pb2
from milepost.study.v1.study_service_pb2 import Decision, WatchStudyRequest, WatchStudyResponse
from runtime.errors import CallRefused
from session_api.application.study.judge import Judge
from session_api.application.study.shown_studies import ShownStudies
from session_api.application.study.study_resource import ShowStudy
from session_api.application.study.study_state import decisions_in

# How often the study is looked at, seconds.
_LOOK_S = 0.5
# How often something is said at least, seconds: silence means a broken connection.
_SAY_S = 5.0
# How often a ranking is sent at most, seconds.
_RANK_S = 1.0
# One of a thousand variants takes its time: at most this share of it goes into rankings.
_RANK_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class WatchStudy:
    """Looks at the log now and then; a study is hours, not milliseconds."""

    shown: ShownStudies
    show: ShowStudy
    judge: Judge
    stop: asyncio.Event
    """Set when the service is to end."""

    async def __call__(self, tenant: str, request: WatchStudyRequest) -> AsyncIterator[WatchStudyResponse]:
        """Until the study has ended. Raises CallRefused: STUDY_NOT_FOUND, DRAINING."""
        clock = asyncio.get_running_loop().time
        cursor, said, rank_from, ranked_seq = request.after_seq, -_SAY_S, 0.0, 0
        shown = None
        while True:
            study, events = await self.shown.read_after(tenant, request.study_id, after_seq=cursor)
            # Of the fold as it is now: another task may bring it further while this one waits.
            ended, seq = study.end_time is not None, study.place.seq
            answer = WatchStudyResponse(study=await self.show(tenant, study))
            cursor = max((event.seq for event in events), default=cursor)
            answer.decisions.extend(Decision(seq=at, text=text) for at, text in decisions_in(events))
            if request.with_ranking and seq != ranked_seq and (ended or clock() >= rank_from):
                began = clock()
                answer.ranking.CopyFrom(await self.judge(tenant, study))
                ranked_seq, rank_from = answer.ranking.seq, clock() + max(_RANK_S, (clock() - began) / _RANK_SHARE)
            changed = answer.study != shown or answer.decisions or answer.HasField("ranking")
            if changed or clock() - said >= _SAY_S:
                shown, said = answer.study, clock()
                yield answer
            if ended and answer.study.end_time.seconds and (not request.with_ranking or ranked_seq >= seq):
                return
            if self.stop.is_set():
                raise CallRefused(errors_pb2.ERROR_REASON_DRAINING, "the server is going away; watch again")
            # Who runs it here is the first to know its end.
            await self.shown.logs.until_over(tenant, request.study_id, within_s=_LOOK_S)
