"""The timeline of a project."""

from typing import Any

import pytest

from gateway.db.database import Database
from gateway.settings import Settings
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.datasets import add_dataset
from tests.fakes.tuned_models import add_job, add_tuned

pytestmark = pytest.mark.anyio


async def test_nothing_yet_says_what_will_be_here(owner: Browser, project_id: str) -> None:
    page = text_of(await owner.open(f"/console/projects/{project_id}/timeline"))
    assert "Nothing has been made here yet" in page


async def test_trainings_and_versions_with_what_they_took(
    owner: Browser, project_id: str, database: Database, project_key: dict[str, Any], settings: Settings
) -> None:
    took: dict[str, Any] = {"trained_tokens": 1500, "actual": {"seconds": 90, "cost_usd": 2.5}}
    job = await add_job(database, project_key, request_metadata={"goal": "label tickets"}, **took)
    tuned = await add_tuned(database, job, settings.data_dir, description="with <b>tags</b>")
    await add_dataset(database, project_id, "tickets of May")
    page = await owner.open(f"/console/projects/{project_id}/timeline")
    text = text_of(page)
    assert "Dataset tickets of May, version 1 completed" in text
    assert "$2.50" in text
    assert "1 training, 1 succeeded" in text
    assert "1,500" in text
    assert "label tickets" in text
    assert "with &lt;b&gt;tags" in page
    assert tuned.id in text
