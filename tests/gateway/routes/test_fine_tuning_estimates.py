"""/v1/fine_tuning/estimate through the application, with the starter model's own files."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, select

from gateway.db.tables import FineTuningJobRow, TrainingSpeedRow
from gateway.fine_tuning import estimates
from gateway.fine_tuning.estimates import save_hardware
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import EngineSettings, FineTuningSettings, Settings
from tests.fakes.engine import BASE
from tests.fakes.fine_tuning import TEN, example, jsonl, upload
from trainer.contract import HardwareDescription

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
URL = "/v1/fine_tuning/estimate"
STARTER = Path(__file__).parents[3] / "trainer" / "starter" / "model"
MACHINE = HardwareDescription(
    device="cpu", name="CPU, 2 threads (float32)", devices=1, memory_bytes=8_000_000_000, dtype="float32",
    flops_per_second=1e11,
)  # fmt: skip


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path=str(STARTER))
    fine_tuning = FineTuningSettings(usd_per_hour=3.6)
    return msgspec.structs.replace(settings, engine=engine, fine_tuning=fine_tuning)


@pytest.fixture
async def hardware(sv: Services) -> None:
    async with sv.database.session() as session:
        await save_hardware(session, "host", MACHINE)


async def ask(client: Client, content: bytes = TEN, **fields: Any) -> httpx.Response:
    return await client.post(URL, json={"model": BASE, "training_file": await upload(client, content), **fields})


async def estimated(client: Client, content: bytes = TEN, **fields: Any) -> dict[str, Any]:
    answer = await ask(client, content, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.usefixtures("hardware")
class TestEstimate:
    async def test_has_a_number_for_every_auto(self, client: Client) -> None:
        told = await estimated(client)
        assert told["object"] == "fine_tuning.estimate"
        numbers = told["method"]["supervised"]["hyperparameters"]
        assert all(isinstance(value, int | float) for value in numbers.values())
        assert told["steps"] == -(-10 // numbers["batch_size"]) * numbers["n_epochs"]
        assert told["training"]["reasons"]["n_epochs"]

    async def test_counts_with_the_base_models_tokenizer(self, client: Client) -> None:
        told = await estimated(
            client, method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
        )
        assert told["tokens_source"] == "counted"
        assert told["trained_tokens"] == 3 * told["tokens"] > 0

    async def test_tells_time_memory_and_cost_of_each_training_type(self, client: Client) -> None:
        told = await estimated(client)
        assert [option["training_type"] for option in told["options"]] == ["lora", "qlora", "full"]
        for option in told["options"]:
            assert option["fits"]
            assert option["memory_bytes"]["total"] > 4_000_000
            assert option["cost_usd"] == pytest.approx(option["seconds"] / 1000, rel=0.01)
        assert told["recommended"] == "lora"
        assert told["hardware"]["name"] == MACHINE.name

    async def test_trained_tokens_have_their_price(self, client: Client, admin: Client) -> None:
        before = await estimated(client)
        fields = {"model": BASE, "input": 1, "output": 1, "training": 1000, "training_hour": 0}
        assert (await admin.post("/v1/prices", json=fields)).status_code == 200
        told = await estimated(client)
        assert told["trained_tokens"] == before["trained_tokens"] > 0
        for option in told["options"]:
            assert option["cost_usd"] == pytest.approx(told["trained_tokens"] / 1000)

    async def test_of_a_server_that_is_too_busy_is_asked_again(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(estimates, "SECONDS", 0.0)
        answer = await ask(client)
        assert answer.status_code == 503
        assert "too busy" in answer.json()["error"]["message"]

    async def test_takes_the_speed_that_a_job_measured(self, client: Client, sv: Services) -> None:
        row = TrainingSpeedRow(
            base_model=BASE, method="supervised", training_type="lora", device=MACHINE.name, tokens_per_second=50.0,
            measured_at=now(),
        )  # fmt: skip
        async with sv.database.session() as session:
            session.add(row)
        lora, qlora, _ = (await estimated(client))["options"]
        assert (lora["speed_source"], lora["tokens_per_second"]) == ("measured", 50.0)
        assert qlora["speed_source"] == "computed"

    async def test_stores_no_job(self, client: Client, sv: Services) -> None:
        await estimated(client)
        async with sv.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(FineTuningJobRow)) == 0

    async def test_of_dpo(self, client: Client) -> None:
        answers = {
            name: [{"role": "assistant", "content": name}] for name in ("preferred_output", "non_preferred_output")
        }
        pair = {"input": {"messages": [{"role": "user", "content": "Which?"}]}, **answers}
        told = await estimated(client, jsonl(*[pair] * 12), method={"type": "dpo"})
        assert told["method"]["dpo"]["hyperparameters"]["beta"] == 0.1


@pytest.mark.usefixtures("hardware")
class TestRefusals:
    async def test_a_file_without_a_usable_example(self, client: Client) -> None:
        answer = await ask(client, b'{"messages": []}\n')
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "training_file"

    async def test_a_file_that_is_not_there(self, client: Client) -> None:
        answer = await client.post(URL, json={"model": BASE, "training_file": "file-none"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "file_not_found")

    async def test_another_projects_file(self, client: Client, stranger: Client) -> None:
        theirs = await upload(stranger, jsonl(example()))
        answer = await client.post(URL, json={"model": BASE, "training_file": theirs})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "file_not_found")

    async def test_an_unknown_field(self, client: Client) -> None:
        answer = await ask(client, training={"typo": 1})
        assert answer.json()["error"]["param"] == "training.typo"


class TestWithoutAWorker:
    async def test_is_told_to_come_back(self, client: Client) -> None:
        answer = await ask(client)
        assert answer.status_code == 503
        assert "No worker has told yet" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "5"
