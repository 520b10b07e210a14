"""Put made scenarios on the list, many at once: what is known already costs a look."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.blobs import BlobMissing, Blobs
from runtime.parallel import for_each
from session_api.application.hold_scenarios import blobs_of, holder_of
from session_api.application.made_scenario import MadeScenario, NewFile
from session_api.application.refusals import quota_exceeded
from session_api.gateways.grants import utc_now
from session_api.gateways.quotas_sql import Quotas
from session_api.gateways.scenarios_sql import Scenarios

# Uploads under way at once; a blob is small here as a rule.
_AT_ONCE = 16
# Content in memory at once, bytes: fewer uploads of large files.
_IN_MEMORY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeepScenarios:
    """Stores what is new of them, holds all of it, lists them."""

    scenarios: Scenarios
    blobs: Blobs
    quotas: Quotas

    async def __call__(self, tenant: str, made: Sequence[MadeScenario]) -> set[str]:
        """The digests of those that were on the list before.

        Together they count as one upload. Raises CallRefused(QUOTA_EXCEEDED) with nothing stored, BlobMissing.
        """
        wanted = {one.scenario.digest: one for one in made}
        known = await self.scenarios.known(tenant, wanted)
        new = [one for digest, one in wanted.items() if digest not in known]
        if new:
            await self._grant(tenant, new)
            await self._upload(new)
            await for_each(new, lambda one: self._list(tenant, one), at_once=_AT_ONCE)
        return known

    async def _grant(self, tenant: str, new: Sequence[MadeScenario]) -> None:
        upload_id, now = uuid.uuid4().hex, utc_now()
        over = await self.quotas.begin_upload(tenant, upload_id, now)
        if over is None:
            size = sum(one.own_bytes for one in new)
            # Counts as granted until the last of them is there.
            over = await self.quotas.grant_scenario(tenant, upload_id, new[-1].scenario.digest, size, now)
        if over is not None:
            raise quota_exceeded(tenant, over)

    async def _upload(self, new: Sequence[MadeScenario]) -> None:
        files = {one.file.sha256: one for made in new for one in made.new_files if one.content is not None}
        largest = max((one.file.size_bytes for one in files.values()), default=1)
        await for_each(files.values(), self._put, at_once=max(1, min(_AT_ONCE, _IN_MEMORY_BYTES // max(1, largest))))

    async def _put(self, new: NewFile) -> None:
        assert new.content is not None
        # Both would hold up other calls where files are large.
        content = await asyncio.to_thread(new.content)
        await self.blobs.put_bytes(content, sha256=new.file.sha256)

    async def _list(self, tenant: str, one: MadeScenario) -> None:
        digest = one.scenario.digest
        await self.blobs.put_bytes(one.manifest.text().encode())
        # From now on garbage collection leaves it alone.
        missing = await self.blobs.hold(holder_of(tenant, digest), blobs_of(digest, one.scenario.files))
        if missing:
            raise BlobMissing(min(missing))
        await self.scenarios.put(tenant, one.scenario, stored_bytes=one.own_bytes)
