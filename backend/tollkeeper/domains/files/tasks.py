"""The recurring job that clears away files that have expired, were deleted, or never arrived whole."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.domains.files.service import Files
from tollkeeper.domains.jobs.schemas import JobContext, JobKind

_EVERY_SECONDS: Final = 600


def file_jobs(files: Files) -> list[JobKind]:
    async def sweep(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"files": await files.sweep()}

    return [JobKind("files.sweep", sweep, every_seconds=_EVERY_SECONDS)]
