"""Runs of evals that a worker has done, for pages about them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from gateway.app import App
from gateway.settings import Settings
from tests.fakes.evals import Straight, create_run, ended, in_process, inline, qa, working

Client = httpx.AsyncClient


@asynccontextmanager
async def worker_of(settings: Settings, app: App, project_key: dict[str, Any]) -> AsyncIterator[Straight]:
    in_process(app.services)
    async with working(settings, app, project_key) as straight:
        yield straight


async def answered(client: Client, of: dict[str, Any], *answers: str, **more: Any) -> dict[str, Any]:
    """A completed run whose answers came with the data: to every item `yes` is right."""
    items = [qa(f"Is it {number}?", "yes") for number in range(len(answers))]
    source = {"type": "jsonl", "source": inline(*items, samples=[{"output_text": each} for each in answers])}
    run = await ended(client, await create_run(client, of["id"], source, **more))
    assert run["status"] == "completed", run
    return run
