"""Usage and quality of a month."""

import csv
import io
from typing import Any

import pytest

from gateway.db.database import Database
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.tuned_models import add_job
from tests.gateway.metering.ledger_rows import DAY, MIDNIGHT, charge, post
from tests.gateway.metering.logged_calls import log

pytestmark = pytest.mark.anyio


@pytest.fixture
async def used(database: Database, project_key: dict[str, Any]) -> str:
    """A project with calls in November and October 2026, and a training. Its id."""
    project_id = project_key["project_id"]
    own = {"project_id": project_id, "api_key_id": project_key["id"]}
    await log(database, *[own] * 3, own | {"served_model": "=evil", "outcome": "failed", "status": 502})
    await log(database, own | {"created_at": MIDNIGHT - 30 * DAY}, own | {"created_at": MIDNIGHT + 10 * DAY})
    trained = {"kind": "training", "endpoint": "/fine_tuning/jobs", "device_ms": 7_200_000, "input_tokens": 5000}
    await post(database, charge("charge_1", **trained, project_id=project_id, model="starter"))
    return project_id


async def rows(owner: Browser, url: str) -> list[dict[str, str]]:
    answer = await owner.client.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith('attachment; filename="report-2026-11.')
    return list(csv.DictReader(io.StringIO(answer.text)))


class TestShowing:
    async def test_of_everything(self, owner: Browser, used: str) -> None:
        page = await owner.open("/console/report?month=2026-11")
        text = text_of(page)
        assert "Requests 4 4.0 times the month before" in text or "Requests 4 +300% against the month before" in text
        assert f'href="/console/projects/{used}/report?month=2026-11"' in page
        assert "first: starter 1 2.00 5,000 $0.000082" in text
        assert "project.created" in text or "No administrative change" in text

    async def test_of_a_project_with_its_quality(self, owner: Browser, used: str) -> None:
        text = text_of(await owner.open(f"/console/projects/{used}/report?month=2026-11"))
        assert "Nothing was judged in this month." in text
        assert "=evil 1 1" in text
        assert "app 4 1" in text

    async def test_of_a_month_without_calls(self, owner: Browser, used: str) -> None:
        text = text_of(await owner.open("/console/report?month=2025-01"))
        assert "No calls in this month" in text
        assert "Nothing was trained" in text

    async def test_what_is_no_month_is_refused(self, owner: Browser) -> None:
        await owner.open("/console/report?month=tomorrow", 400)
        await owner.open("/console/report")

    async def test_jobs_of_the_month(
        self, owner: Browser, project_key: dict[str, Any], database: Database, project_id: str
    ) -> None:
        await add_job(database, project_key, "ftjob-now")
        page = await owner.open(f"/console/projects/{project_id}/report")
        assert f"/console/projects/{project_id}/fine-tuning/ftjob-now" in page
        assert "ftjob-now" not in await owner.open(f"/console/projects/{project_id}/report?month=2025-01")


class TestExporting:
    async def test_as_csv(self, owner: Browser, used: str) -> None:
        found = await rows(owner, f"/console/projects/{used}/report/export?month=2026-11")
        model, evil, key, training = found
        assert (model["part"], model["name"], model["requests"], model["cost_of_calls_usd"]) == (
            "Model",
            "m",
            "3",
            "0.000246",
        )
        assert evil["name"] == "'=evil"  # no formula for a spreadsheet
        assert (key["part"], key["failed"]) == ("Key", "1")
        assert (training["trainings"], training["device_hours"], training["trained_tokens"]) == ("1", "2.0", "5000")

    async def test_as_json(self, owner: Browser, used: str) -> None:
        told = (await owner.client.get("/console/report/export?month=2026-11&format=json")).json()
        assert told["month"] == "2026-11"
        assert [row["part"] for row in told["rows"]][:2] == ["Project", "Model"]
