"""Fine-tuning in the browser: the guided start, a job as it is trained, and what came of it."""

import re
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning import repository
from gateway.fine_tuning.estimates import save_hardware
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.engine import BASE
from tests.fakes.tuned_models import add_job, add_tuned, set_status
from tests.gateway.people import add
from trainer.contract import HardwareDescription

pytestmark = pytest.mark.anyio

LINE = b'{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]}\n'
PAIR = (
    b'{"input": {"messages": [{"role": "user", "content": "hello"}]}, "preferred_output": [{"role": "assistant",'
    b' "content": "good day"}], "non_preferred_output": [{"role": "assistant", "content": "what"}]}\n'
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an engine that is away: what is shown does not need it."""
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
def home(project_id: str) -> str:
    return f"/console/projects/{project_id}"


async def upload(client: httpx.AsyncClient, content: bytes = LINE * 20, name: str = "tickets.jsonl") -> str:
    answer = await client.post("/v1/files", files={"file": (name, content), "purpose": (None, "fine-tune")})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def running_job(database: Database, key: dict[str, Any], losses: list[float], **fields: Any) -> FineTuningJobRow:
    values: dict[str, Any] = {
        "status": "running",
        "suffix": "support",
        "training": {"type": "lora", "reasons": {}},
    } | fields
    job = await add_job(database, key, **values)
    async with database.session() as session:
        for at, loss in enumerate(losses, 1):
            told = {
                "step": at,
                "total_steps": 40,
                "train_loss": loss,
                "learning_rate": 2e-4,
                "tokens_per_second": 123.0,
            }
            told |= {"memory_bytes": 10**9, "device_memory_bytes": 8 * 10**9}
            await repository.add_metrics(session, job.id, at, f"Step {at}", told, created_at=now())
    return job


class TestStart:
    async def test_begins_with_the_goal(self, owner: Browser, home: str) -> None:
        page = text_of(await owner.open(f"{home}/fine-tuning/new"))
        assert "What should the model do better?" in page

    async def test_a_step_that_needs_data_asks_for_it_first(self, owner: Browser, home: str) -> None:
        page = text_of(await owner.open(f"{home}/fine-tuning/new?step=check&goal=x"))
        assert "What does it learn from?" in page

    async def test_an_uploaded_file_is_chosen_and_its_report_is_shown(self, owner: Browser, home: str) -> None:
        token = (await owner.client.get("/v1/sessions/current")).json()["csrf_token"]
        form = {"_csrf": token, "goal": "label tickets"}
        answer = await owner.client.post(
            f"{home}/fine-tuning/files", data=form, files={"file": ("tickets.jsonl", LINE * 20)}
        )
        assert answer.status_code == 200
        assert "tickets.jsonl" in answer.text
        assert "Conversations with good answers" in text_of(answer.text)
        assert 'name="goal" value="label tickets"' in answer.text

    async def test_one_that_a_script_has_uploaded_is_chosen_likewise(
        self, owner: Browser, home: str, client: httpx.AsyncClient
    ) -> None:
        page = await owner.open(f"{home}/fine-tuning/new?step=data&goal=x")
        assert 'data-upload="fine-tune"' in page
        page = await owner.send(f"{home}/fine-tuning/files", goal="x", file_id=await upload(client, LINE * 20))
        assert "Conversations with good answers" in text_of(page)

    async def test_what_cannot_be_uploaded_is_said(self, owner: Browser, home: str) -> None:
        page = await owner.send(f"{home}/fine-tuning/files", 400, goal="x")
        assert "Choose a file first" in text_of(page)

    async def test_pairs_are_recognized(self, owner: Browser, home: str, client: httpx.AsyncClient) -> None:
        file_id = await upload(client, PAIR * 20)
        page = text_of(await owner.open(f"{home}/fine-tuning/new?step=settings&goal=x&model={BASE}&data={file_id}"))
        assert "The file has pairs of answers" in page
        assert "Beta" in page

    async def test_settings_are_recommended_with_their_reasons(
        self, owner: Browser, home: str, client: httpx.AsyncClient
    ) -> None:
        query = f"goal=classify+tickets&model={BASE}&data={await upload(client)}"
        page = await owner.open(f"{home}/fine-tuning/new?step=settings&{query}")
        assert "So few examples would be learnt by heart" in text_of(page)
        assert re.search(r'name="lora_rank"[^>]*value="8"', page)
        changed = await owner.open(f"{home}/fine-tuning/new?step=settings&{query}&lora_rank=32")
        assert re.search(r'name="lora_rank"[^>]*value="32"', changed)

    async def test_without_an_estimate_it_says_why(self, owner: Browser, home: str, client: httpx.AsyncClient) -> None:
        query = f"goal=x&model={BASE}&data={await upload(client)}"
        page = text_of(await owner.open(f"{home}/fine-tuning/new?step=check&{query}"))
        assert "No worker has told yet" in page
        assert "There is no validation data" in page

    async def test_starts_the_job_that_was_asked_for(
        self, owner: Browser, home: str, client: httpx.AsyncClient
    ) -> None:
        file_id = await upload(client)
        fields = {"goal": "label tickets", "model": BASE, "data": file_id, "lora_rank": "16", "n_epochs": "2"}
        page = text_of(await owner.send(f"{home}/fine-tuning/new", **fields, type="lora", suffix="support"))
        assert "The job is made" in page
        [job] = (await client.get("/v1/fine_tuning/jobs")).json()["data"]
        assert job["metadata"] == {"goal": "label tickets"}
        assert job["training"]["lora_rank"] == 16
        assert job["hyperparameters"]["n_epochs"] == 2
        assert "label tickets" in text_of(await owner.open(f"{home}/fine-tuning"))

    async def test_what_is_refused_is_said_and_nothing_is_lost(
        self, owner: Browser, home: str, client: httpx.AsyncClient
    ) -> None:
        file_id = await upload(client)
        page = await owner.send(f"{home}/fine-tuning/new", 400, goal="x", model=BASE, data=file_id, n_epochs="many")
        assert "n_epochs" in text_of(page)
        assert 'name="n_epochs" value="many"' in page

    async def test_models_are_offered_and_compared(self, owner: Browser, home: str, client: httpx.AsyncClient) -> None:
        file_id = await upload(client)
        page = await owner.open(f"{home}/fine-tuning/new?step=model&goal=x&data={file_id}&compare={BASE}")
        assert re.search(rf'name="model" value="{BASE}" checked', page)
        assert 'name="model" value="echo"' not in page
        assert "Compared, with your data" in text_of(page)

    async def test_a_reader_sees_it_and_starts_nothing(
        self, app: App, admin: httpx.AsyncClient, client: httpx.AsyncClient, home: str
    ) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            query = f"goal=x&model={BASE}&data={await upload(client)}"
            page = await browser.open(f"{home}/fine-tuning/new?step=check&{query}")
            assert "Start training" not in page
            await browser.send(f"{home}/fine-tuning/new", 403, model=BASE, data="file-1")


class TestJob:
    async def test_shows_curves_figures_and_what_they_mean(
        self, owner: Browser, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        falling = [0.5 + 2 * 0.85**at for at in range(20)]
        job = await running_job(database, project_key, [*falling, *[3.0 + at for at in range(15)]])
        page = await owner.open(f"{home}/fine-tuning/{job.id}")
        assert "The training diverges" in text_of(page)
        assert "step 35 of 40" in text_of(page)
        assert '"Training loss"' in page
        assert 'hx-trigger="every 3s"' in page
        listed = text_of(await owner.open(f"{home}/fine-tuning"))
        assert "support" in listed
        assert "88%" in listed

    async def test_the_part_that_moves_comes_alone_and_the_page_anew_once_it_has_ended(
        self, owner: Browser, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job = await running_job(database, project_key, [2.0])
        url, asked = f"{home}/fine-tuning/{job.id}?status=running", {"hx-request": "true"}
        part = await owner.client.get(url, headers=asked)
        assert "<html" not in part.text
        assert 'data-chart-of="chart-losses"' in part.text
        assert "hx-refresh" not in part.headers
        await set_status(database, job.id, "failed")
        ended = await owner.client.get(url, headers=asked)
        assert ended.headers["hx-refresh"] == "true"
        assert "hx-trigger" not in ended.text

    async def test_is_paused_resumed_and_stopped(
        self, owner: Browser, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job = await running_job(database, project_key, [2.0])
        url = f"{home}/fine-tuning/{job.id}"
        assert "paused" in text_of(await owner.send(f"{url}/pause"))
        assert "The job goes on" in text_of(await owner.send(f"{url}/resume"))
        assert "cancelled" in text_of(await owner.send(f"{url}/cancel"))
        assert f'action="{url}/cancel"' not in await owner.open(url)
        await owner.send(f"{url}/explode", 404)

    async def test_an_error_says_what_to_do(
        self, owner: Browser, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        error = {"code": "training_diverged", "message": "No number any more.", "param": None}
        job = await add_job(database, project_key, status="failed", error=error)
        assert "half the learning rate multiplier" in text_of(await owner.open(f"{home}/fine-tuning/{job.id}"))


class TestEvaluation:
    async def test_one_click_has_both_models_answer_what_was_held_out(
        self, owner: Browser, home: str, sv: Services, client: httpx.AsyncClient, database: Database, project_key: Any
    ) -> None:
        held_out = await upload(client, LINE * 3, "held-out.jsonl")
        job = await add_job(database, project_key, validation_file=held_out, fine_tuned_model="ft:x")
        tuned = await add_tuned(database, job)
        async with database.session() as session:
            (await session.get_one(FineTuningJobRow, job.id)).fine_tuned_model = tuned.id
        await sv.mirrors.refresh()
        page = text_of(await owner.send(f"{home}/fine-tuning/{job.id}/evaluation"))
        assert "Both models answer 3 held-out questions" in page
        assert f"{BASE}: queued" in page
        assert f"{tuned.id}: queued" in page
        [suite] = (await client.get("/v1/evals", params={"metadata[fine_tuning_job]": job.id})).json()["data"]
        runs = (await client.get(f"/v1/evals/{suite['id']}/runs")).json()["data"]
        [item, *_] = runs[0]["data_source"]["source"]["content"]
        assert item["item"] == {"input": [{"role": "user", "content": "hello"}], "expected": "good day"}
        assert (await client.get("/v1/evals", params={"metadata[fine_tuning_job]": "other"})).json()["data"] == []

    async def test_without_validation_data_there_is_nothing_to_compare_with(
        self, owner: Browser, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job = await add_job(database, project_key, fine_tuned_model="ft:x")
        page = await owner.send(f"{home}/fine-tuning/{job.id}/evaluation", 400)
        assert "no validation data" in text_of(page)


async def test_an_estimate_is_told_where_a_worker_has_said_what_it_trains_on(
    owner: Browser, home: str, client: httpx.AsyncClient, database: Database
) -> None:
    device = HardwareDescription(
        device="cpu", name="CPU", devices=1, memory_bytes=10**10, dtype="float32", flops_per_second=1e11
    )
    async with database.session() as session:
        await save_hardware(session, "host", device)
    query = f"goal=x&model={BASE}&data={await upload(client)}"
    page = text_of(await owner.open(f"{home}/fine-tuning/new?step=check&{query}"))
    assert "Nothing can be estimated" in page  # the base model's files are not here
