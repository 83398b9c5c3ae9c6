"""Guidance without a worker's process: what it would do is done here."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from gateway import guidance_process
from gateway.datasets.isolated import Isolated
from gateway.guidance import repository
from gateway.protocol.guidance import GuidanceFilters
from gateway.services import WorkerServices
from gateway.tasks.guide_projects import guide_project


class InProcess(Isolated):
    async def run(self, arguments: Sequence[str], files: Sequence[IO[bytes]], *, first: Any = None) -> bytes:
        return await asyncio.to_thread(_answer, arguments[0])


def _answer(path: str) -> bytes:
    return guidance_process.answer(Path(path).read_bytes())


async def compute(wv: WorkerServices, project_id: str, **filters: Any) -> None:
    """As a worker does once it is asked."""
    object.__setattr__(wv, "guidance", InProcess())
    await guide_project(wv, project_id, repository.key_of(GuidanceFilters(**filters)))
