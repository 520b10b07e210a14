"""Validate a stored scenario again, with the rules of this release."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtime.blobs import Blobs
from scenario.limited import inspect_limited
from scenario.model import Inspection, Manifest

# A manifest of 2,000 files is far smaller than this.
MANIFEST_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ValidateScenario:
    """Fetches a scenario's files and inspects them in a limited process."""

    blobs: Blobs

    async def __call__(self, digest: str) -> Inspection:
        """What the rules find. Raises BlobMissing when the store lost a file."""
        text = await self.blobs.get_bytes(digest, limit_bytes=MANIFEST_MAX_BYTES)
        manifest = Manifest.parse(text.decode())
        with tempfile.TemporaryDirectory(prefix="milepost-validate-") as directory:
            root = Path(directory)
            for file in manifest.files:
                target = root / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                await self.blobs.get_file(file.sha256, target)
            return await inspect_limited(root, manifest.config_path)
