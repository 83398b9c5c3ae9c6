"""/v1/fine_tuning/jobs through the application; the work itself is in tests/gateway/tasks."""

import asyncio
import json
import re
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text, update

from gateway.app import App
from gateway.db.tables import ModelRow
from gateway.errors import Unavailable
from gateway.fine_tuning import claims, repository
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.conftest import client_of
from tests.contract import conforms
from tests.fakes.engine import BASE
from tests.fakes.fine_tuning import create_job, job_of, messages_of, upload
from tests.fakes.tuned_models import add_job, add_tuned

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
JOBS = "/v1/fine_tuning/jobs"
TOO_FAR = 2**31


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an engine that is away: creating a job does not need it."""
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def refused(client: Client, status: int = 400, **fields: Any) -> dict[str, Any]:
    body = {"model": BASE, "training_file": await upload(client), **fields}
    return error_of(await client.post(JOBS, json=body), status)


class TestCreate:
    async def test_answers_openais_job(self, client: Client) -> None:
        job = await create_job(client)
        conforms("FineTuningJob", job)
        assert re.fullmatch(r"ftjob-\w{24}", job["id"])
        assert job["status"] == "validating_files"
        assert job["organization_id"] == "org-tuneway"
        assert job["hyperparameters"] == dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")
        assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": job["hyperparameters"]}}
        assert 0 <= job["seed"] < TOO_FAR
        for name in ("finished_at", "fine_tuned_model", "trained_tokens", "error", "validation_file", "metadata"):
            assert job[name] is None
        assert await job_of(client, job["id"]) == job
        assert await messages_of(client, job["id"]) == [f"Created fine-tuning job: {job['id']}"]

    async def test_every_field_is_kept(self, client: Client) -> None:
        numbers = {"n_epochs": 50, "batch_size": 256, "learning_rate_multiplier": 0.1}
        fields = {
            "validation_file": await upload(client),
            "suffix": "s" * 64,
            "seed": TOO_FAR - 1,
            "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
            "metadata": {"k" * 64: "v" * 512, **{f"key{n}": "" for n in range(15)}},
            "integrations": None,
            "hyperparameters": None,
        }
        job = await create_job(client, **fields)
        conforms("FineTuningJob", job)
        assert job["hyperparameters"] == numbers
        assert job["user_provided_suffix"] == fields["suffix"]
        for name in ("validation_file", "seed", "metadata"):
            assert job[name] == fields[name]

    async def test_numbers_of_both_kinds_are_taken(self, client: Client) -> None:
        job = await create_job(client, hyperparameters={"n_epochs": 1, "batch_size": 1, "learning_rate_multiplier": 2})
        assert job["hyperparameters"] == {"n_epochs": 1, "batch_size": 1, "learning_rate_multiplier": 2}
        assert (await create_job(client, seed=0))["seed"] == 0

    @pytest.mark.parametrize(
        "method", [{"type": "dpo"}, {"type": "dpo", "dpo": {}}, {"type": "dpo", "dpo": {"hyperparameters": {}}}]
    )
    async def test_dpo_without_numbers(self, client: Client, method: dict[str, Any]) -> None:
        job = await create_job(client, method=method)
        conforms("FineTuningJob", job)
        names = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")
        assert job["hyperparameters"] == dict.fromkeys(names, "auto")
        assert job["method"] == {"type": "dpo", "dpo": {"hyperparameters": job["hyperparameters"]}}

    async def test_dpo_with_numbers(self, client: Client) -> None:
        numbers = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 0.5, "beta": 0.3}
        job = await create_job(client, method={"type": "dpo", "dpo": {"hyperparameters": numbers}})
        conforms("FineTuningJob", job)
        assert job["hyperparameters"] == numbers
        old = await create_job(client, method={"type": "dpo"}, hyperparameters={"n_epochs": 3})
        assert (old["hyperparameters"]["n_epochs"], old["hyperparameters"]["beta"]) == (3, "auto")

    async def test_how_the_weights_are_trained_is_shown_as_asked(self, client: Client) -> None:
        job = await create_job(client, training={"type": "qlora", "lora_rank": 32, "packing": False})
        conforms("FineTuningJob", job)
        asked = {"type": "qlora", "lora_rank": 32, "packing": False}
        auto = dict.fromkeys(("lora_alpha", "context_length", "gradient_checkpointing"), "auto")
        assert job["training"] == asked | auto
        assert set((await create_job(client))["training"].values()) == {"auto"}

    async def test_wandb_run_is_named_after_the_job_and_tagged(self, client: Client) -> None:
        job = await create_job(client, integrations=[{"type": "wandb", "wandb": {"project": "p"}}])
        conforms("FineTuningJob", job)
        tags = ["openai/finetune", f"openai/{BASE}", f"openai/{job['id']}"]
        run = {"project": "p", "name": job["id"], "entity": None, "tags": tags}
        assert job["integrations"] == [{"type": "wandb", "wandb": run}]

    async def test_wandb_run_keeps_its_own_name_and_tags(self, client: Client) -> None:
        run = {"project": "p", "name": "mine", "entity": "team", "tags": ["a", "openai/finetune"]}
        job = await create_job(client, integrations=[{"type": "wandb", "wandb": run}])
        conforms("FineTuningJob", job)
        shown = job["integrations"][0]["wandb"]
        assert (shown["name"], shown["entity"]) == ("mine", "team")
        assert shown["tags"] == ["a", "openai/finetune", f"openai/{BASE}", f"openai/{job['id']}"]

    async def test_queue_that_is_away_does_not_lose_the_job(
        self, client: Client, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: object, **__: object) -> None:
            raise Unavailable("Redis is away")

        monkeypatch.setattr(sv.queue, "enqueue", away)
        job = await create_job(client)
        async with sv.database.session() as session:
            assert await claims.unvalidated(session, 0) == [job["id"]]


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"model": 3}, "model"),
            ({"training_file": None}, "training_file"),
            ({"suffix": ""}, "suffix"),
            ({"suffix": "s" * 65}, "suffix"),
            ({"suffix": 1}, "suffix"),
            ({"seed": -1}, "seed"),
            ({"seed": TOO_FAR}, "seed"),
            ({"seed": "1"}, "seed"),
            ({"seed": 1.5}, "seed"),
            ({"metadata": {"k": 1}}, "metadata[...]"),
            ({"metadata": []}, "metadata"),
            ({"metadata": {f"key{n}": "v" for n in range(17)}}, "metadata"),
            ({"metadata": {"k" * 65: "v"}}, "metadata"),
            ({"metadata": {"k": "v" * 513}}, "metadata"),
            ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
            ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
            ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs"),
            ({"hyperparameters": {"n_epochs": True}}, "hyperparameters.n_epochs"),
            ({"hyperparameters": {"n_epochs": None}}, "hyperparameters.n_epochs"),
            ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size"),
            ({"hyperparameters": {"batch_size": 1.5}}, "hyperparameters.batch_size"),
            ({"hyperparameters": {"learning_rate_multiplier": 0}}, "hyperparameters.learning_rate_multiplier"),
            ({"hyperparameters": {"learning_rate_multiplier": -1}}, "hyperparameters.learning_rate_multiplier"),
            ({"hyperparameters": {"learning_rate_multiplier": 1001}}, "hyperparameters.learning_rate_multiplier"),
            ({"hyperparameters": {"beta": 1}}, "hyperparameters.beta"),
            ({"hyperparameters": []}, "hyperparameters"),
            ({"method": {}}, "method.type"),
            ({"method": {"type": "magic"}}, "method.type"),
            ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}}, "method.dpo.hyperparameters.beta"),
            ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}}, "method.dpo.hyperparameters.beta"),
            ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised"),
            ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo"),
            ({"method": {"type": "supervised", "reinforcement": {}}}, "method.reinforcement"),
            ({"training": {"type": "half"}}, "training.type"),
            ({"training": {"lora_rank": 0}}, "training.lora_rank"),
            ({"training": {"rank": 8}}, "training.rank"),
            ({"training": {"type": "full", "lora_rank": 8}}, "training.lora_rank"),
            ({"training": {"type": "full", "lora_alpha": 8}}, "training.lora_alpha"),
            ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.type"),
            (
                {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 99}}}},
                "method.supervised.hyperparameters.n_epochs",
            ),
            ({"method": {"type": "supervised", "supervised": {"epochs": 1}}}, "method.supervised.epochs"),
            ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 2}, "integrations"),
            ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 6}, "integrations"),
            ({"integrations": [{"type": "wandb", "wandb": {}}]}, "integrations[0].wandb.project"),
            ({"integrations": [{"type": "mlflow", "mlflow": {}}]}, "integrations[0].type"),
            ({"epochs": 3}, "epochs"),
        ],
    )
    async def test_wrong_field_is_named(self, client: Client, sv: Services, fields: dict[str, Any], param: str) -> None:
        error = await refused(client, **fields)
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        async with sv.database.session() as session:
            assert await claims.unvalidated(session, -60) == []

    @pytest.mark.parametrize("name", ["model", "training_file"])
    async def test_missing_field_is_named(self, client: Client, name: str) -> None:
        body = {"model": BASE, "training_file": "file-1"}
        del body[name]
        error = error_of(await client.post(JOBS, json=body))
        assert (error["param"], error["code"]) == (name, "missing_required_parameter")
        assert error["message"] == f"Missing required parameter: '{name}'."

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
    async def test_body_that_is_no_object(self, client: Client, body: bytes) -> None:
        error_of(await client.post(JOBS, content=body))

    async def test_method_that_is_not_there_says_which_are(self, client: Client) -> None:
        message = (await refused(client, method={"type": "reinforcement"}))["message"]
        assert "Method 'reinforcement' is not available" in message
        assert "Use 'supervised' with examples of good answers, or 'dpo'" in message

    async def test_hyperparameters_in_both_places(self, client: Client) -> None:
        numbers = {"hyperparameters": {"n_epochs": 1}}
        error = await refused(client, **numbers, method={"type": "supervised", "supervised": numbers})
        assert "not both" in error["message"]

    async def test_a_typo_in_the_method_is_named(self, client: Client) -> None:
        error = await refused(client, method={"type": "supervised", "supervized": {}})
        assert error["param"] == "method.supervized"

    async def test_unknown_model(self, client: Client) -> None:
        error = await refused(client, 404, model="gpt-unknown")
        assert (error["param"], error["code"]) == ("model", "model_not_found")

    async def test_model_of_another_upstream_names_one_that_can(self, client: Client) -> None:
        error = await refused(client, model="echo")
        assert (error["param"], error["code"]) == ("model", "model_not_available")
        assert f"Use '{BASE}'" in error["message"]

    @pytest.mark.parametrize("param", ["training_file", "validation_file"])
    async def test_file_that_is_not_there(self, client: Client, stranger: Client, param: str) -> None:
        foreign = await upload(stranger)
        deleted = await upload(client)
        await client.delete(f"/v1/files/{deleted}")
        for file_id in ("file-unknown", foreign, deleted, "", "file-\x00"):
            error = await refused(client, **{param: file_id})
            assert error["param"] in (param, None)
            assert error["code"] in ("file_not_found", "invalid_value")

    @pytest.mark.parametrize("param", ["training_file", "validation_file"])
    async def test_file_of_another_purpose_says_which_is_wanted(self, client: Client, param: str) -> None:
        error = await refused(client, **{param: await upload(client, purpose="evals")})
        assert error["param"] == param
        assert "has purpose 'evals'; upload it with purpose 'fine-tune'" in error["message"]


class TestWithoutEngine:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, engine=EngineSettings())

    async def test_nothing_can_be_tuned_and_it_says_so(self, client: Client) -> None:
        assert "started without an engine" in (await refused(client, model="echo"))["message"]


class TestList:
    async def test_newest_first_page_by_page(self, client: Client) -> None:
        ids = [(await create_job(client))["id"] for _ in range(3)]
        first = (await client.get(f"{JOBS}?limit=2")).json()
        conforms("ListPaginatedFineTuningJobsResponse", first)
        assert [job["id"] for job in first["data"]] == [ids[2], ids[1]]
        assert (first["has_more"], "first_id" in first) == (True, False)
        rest = (await client.get(f"{JOBS}?limit=2&after={ids[1]}")).json()
        assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([ids[0]], False)

    async def test_by_metadata(self, client: Client) -> None:
        both = await create_job(client, metadata={"team": "a", "run": "1"})
        await create_job(client, metadata={"team": "b"})
        none = await create_job(client)
        empty = await create_job(client, metadata={})

        async def found(query: str) -> list[str]:
            return [job["id"] for job in (await client.get(f"{JOBS}?{query}")).json()["data"]]

        assert await found("metadata[team]=a") == [both["id"]]
        assert await found("metadata[team]=a&metadata[run]=1") == [both["id"]]
        assert await found("metadata[team]=a&metadata[run]=2") == []
        assert await found("metadata=null") == [none["id"]]
        assert empty["metadata"] == {}

    @pytest.mark.parametrize(
        ("query", "param"),
        [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("after=ftjob-x", "after")],
    )
    async def test_wrong_queries_are_named(self, client: Client, query: str, param: str) -> None:
        assert error_of(await client.get(f"{JOBS}?{query}"))["param"] == param


class TestCancel:
    async def test_ends_the_job(self, client: Client) -> None:
        job = await create_job(client)
        answer = (await client.post(f"{JOBS}/{job['id']}/cancel")).json()
        conforms("FineTuningJob", answer)
        assert answer["status"] == "cancelled"
        assert answer["finished_at"] >= job["created_at"]
        assert await job_of(client, job["id"]) == answer

    async def test_twice_is_a_conflict_that_sdks_do_not_retry(self, client: Client) -> None:
        job = await create_job(client)
        await client.post(f"{JOBS}/{job['id']}/cancel")
        answer = await client.post(f"{JOBS}/{job['id']}/cancel")
        assert "it has already been cancelled" in error_of(answer, 409)["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert (await messages_of(client, job["id"])).count("Fine-tuning job cancelled") == 1

    async def test_after_success_changes_nothing(self, client: Client, sv: Services) -> None:
        job = await create_job(client)
        async with sv.database.session() as session:
            for status in ("queued", "running", "succeeded"):
                await repository.move(session, job["id"], status)  # type: ignore[arg-type]
        message = error_of(await client.post(f"{JOBS}/{job['id']}/cancel"), 409)["message"]
        assert message == f"Job {job['id']} cannot be cancelled: it has already succeeded."
        assert (await job_of(client, job["id"]))["status"] == "succeeded"


class TestPause:
    async def test_and_resume(self, client: Client) -> None:
        job = await create_job(client)
        paused = (await client.post(f"{JOBS}/{job['id']}/pause")).json()
        conforms("FineTuningJob", paused)
        assert (paused["status"], paused["finished_at"], paused["error"]) == ("paused", None, None)
        assert await job_of(client, job["id"]) == paused
        resumed = (await client.post(f"{JOBS}/{job['id']}/resume")).json()
        conforms("FineTuningJob", resumed)
        assert resumed["status"] == "queued"
        told = await messages_of(client, job["id"])
        assert told[1:] == ["Fine-tuning job paused", "Fine-tuning job resumed"]

    async def test_is_told_each_time(self, client: Client) -> None:
        job = await create_job(client)
        for _ in range(2):
            for verb in ("pause", "resume"):
                assert (await client.post(f"{JOBS}/{job['id']}/{verb}")).status_code == 200
        told = await messages_of(client, job["id"])
        assert told[1:] == ["Fine-tuning job paused", "Fine-tuning job resumed"] * 2

    async def test_where_it_is_not_possible_is_a_conflict_that_sdks_do_not_retry(self, client: Client) -> None:
        job = await create_job(client)

        async def conflict(verb: str) -> str:
            answer = await client.post(f"{JOBS}/{job['id']}/{verb}")
            assert answer.headers["x-should-retry"] == "false"
            return error_of(answer, 409)["message"]

        start = f"Job {job['id']} cannot be "
        assert await conflict("resume") == f"{start}resumed: it is not paused, its status is validating_files."
        await client.post(f"{JOBS}/{job['id']}/pause")
        assert await conflict("pause") == f"{start}paused: it is already paused."
        assert (await client.post(f"{JOBS}/{job['id']}/cancel")).json()["status"] == "cancelled"
        assert await conflict("pause") == f"{start}paused: it has already been cancelled."
        assert await conflict("resume") == f"{start}resumed: it has already been cancelled."

    async def test_of_two_at_once_one_wins(self, client: Client) -> None:
        job = await create_job(client)
        answers = await asyncio.gather(*(client.post(f"{JOBS}/{job['id']}/pause") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        assert (await messages_of(client, job["id"])).count("Fine-tuning job paused") == 1


class TestRepeatedCreate:
    """What an SDK sends again after a timeout."""

    RETRY = {"x-stainless-retry-count": "1"}

    @pytest.fixture
    async def body(self, client: Client) -> dict[str, Any]:
        return {"model": BASE, "training_file": await upload(client), "seed": 3}

    async def create(self, client: Client, body: Any, **headers: str) -> dict[str, Any]:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = await client.post(JOBS, content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def test_answers_the_job_that_exists(self, client: Client, body: dict[str, Any]) -> None:
        first = await self.create(client, body)
        assert await self.create(client, body, **self.RETRY) == first
        assert await self.create(client, body) == first
        assert len((await client.get(JOBS)).json()["data"]) == 1

    async def test_however_the_json_is_written(self, client: Client, body: dict[str, Any]) -> None:
        first = await self.create(client, body)
        turned = dict(reversed(body.items()))
        assert (await self.create(client, json.dumps(turned, indent=3).encode()))["id"] == first["id"]

    async def test_another_body_makes_another_job(self, client: Client, body: dict[str, Any]) -> None:
        bodies = [body, body | {"seed": 4}, body | {"suffix": "s"}, body | {"metadata": {"a": "b"}}]
        assert len({(await self.create(client, each, **self.RETRY))["id"] for each in bodies}) == 4

    async def test_another_key_makes_another_job(
        self, client: Client, admin: Client, app: App, project_key: dict[str, Any], body: dict[str, Any]
    ) -> None:
        url = f"/v1/organization/projects/{project_key['project_id']}/service_accounts"
        other = (await admin.post(url, json={"name": "other"})).json()["api_key"]["value"]
        async with client_of(app, other) as second:
            ids = {(await self.create(each, body))["id"] for each in (client, second)}
        assert len(ids) == 2

    async def test_job_that_has_ended_is_made_again_unless_an_sdk_repeats_itself(
        self, client: Client, body: dict[str, Any]
    ) -> None:
        first = await self.create(client, body)
        await client.post(f"{JOBS}/{first['id']}/cancel")
        assert (await self.create(client, body, **self.RETRY))["status"] == "cancelled"
        assert (await self.create(client, body, **{"x-stainless-retry-count": "0"}))["id"] != first["id"]

    async def test_after_minutes_it_is_another_call(self, client: Client, sv: Services, body: dict[str, Any]) -> None:
        first = await self.create(client, body)
        async with sv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET created_at = now() - interval '301 seconds'"))
        assert (await self.create(client, body, **self.RETRY))["id"] != first["id"]

    async def test_file_that_is_gone_by_now_changes_nothing(self, client: Client, body: dict[str, Any]) -> None:
        first = await self.create(client, body)
        await client.delete(f"/v1/files/{body['training_file']}")
        assert (await self.create(client, body, **self.RETRY))["id"] == first["id"]

    async def test_refused_call_leaves_nothing_to_find(self, client: Client, body: dict[str, Any]) -> None:
        wrong = body | {"training_file": "file-unknown"}
        for headers in ({}, self.RETRY):
            error_of(await client.post(JOBS, json=wrong, headers=headers))


class TestEvents:
    async def test_conform_and_page(self, client: Client, sv: Services) -> None:
        job = await create_job(client)
        async with sv.database.session() as session:
            await repository.add_metrics(session, job["id"], 1, "Step 1/1: ", {"step": 1}, created_at=now())
        page = (await client.get(f"{JOBS}/{job['id']}/events?limit=1")).json()
        conforms("FineTuningJobEvent", page["data"][0])
        assert page["data"][0]["data"] == {"step": 1}
        assert page["has_more"] is True
        last = (await client.get(f"{JOBS}/{job['id']}/events?limit=1&after={page['data'][0]['id']}")).json()
        assert last["has_more"] is False
        assert error_of(await client.get(f"{JOBS}/{job['id']}/events?after=nothing"))["param"] == "after"


class TestCheckpoints:
    async def test_conform(self, client: Client, sv: Services) -> None:
        job = await create_job(client, suffix="mine")
        async with sv.database.session() as session:
            for step in (10, 20):
                await repository.add_checkpoint(session, job["id"], step, {"step": step, "train_loss": 0.5})
                await repository.add_checkpoint(session, job["id"], step, {"step": 0})
        page = (await client.get(f"{JOBS}/{job['id']}/checkpoints")).json()
        conforms("ListFineTuningJobCheckpointsResponse", page)
        assert [each["step_number"] for each in page["data"]] == [20, 10]
        assert page["data"][0]["fine_tuned_model_checkpoint"] == f"ft:base:tuneway:mine:{job['id'][-8:]}:ckpt-step-20"
        assert page["data"][0]["metrics"] == {"step": 20, "train_loss": 0.5}


class TestAnotherBase:
    """The operator has changed `[engine] model` since the model was tuned."""

    @pytest.fixture
    async def former(self, client: Client, project_key: dict[str, Any], sv: Services) -> ModelRow:
        return await add_tuned(sv.database, await add_job(sv.database, project_key), base_model="former")

    async def test_an_adapter_of_it_cannot_be_tuned(self, client: Client, sv: Services, former: ModelRow) -> None:
        await sv.mirrors.refresh()
        error = await refused(client, model=former.id)
        assert (error["param"], error["code"]) == ("model", "model_not_available")
        assert "`former`" in error["message"]
        assert f"`{BASE}`" in error["message"]

    async def test_weights_of_their_own_can(self, client: Client, sv: Services, former: ModelRow) -> None:
        async with sv.database.session() as session:
            await session.execute(update(ModelRow).values(kind="full"))
        await sv.mirrors.refresh()
        assert (await create_job(client, model=former.id))["model"] == former.id


class TestProjects:
    async def test_another_projects_job_does_not_exist(self, client: Client, stranger: Client) -> None:
        job = await create_job(client)
        url = f"{JOBS}/{job['id']}"
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/checkpoints"), ("POST", "/cancel")):
            error = error_of(await stranger.request(method, url + path), 404)
            assert job["id"] in error["message"]
        assert (await stranger.get(JOBS)).json()["data"] == []
        assert error_of(await stranger.get(f"{JOBS}?after={job['id']}"))["param"] == "after"
        assert (await job_of(client, job["id"]))["status"] == "validating_files"

    async def test_tuned_model_of_another_project_cannot_be_tuned(
        self, client: Client, stranger: Client, sv: Services
    ) -> None:
        job = await create_job(client)
        async with sv.database.session() as session:
            row = (
                "INSERT INTO models (id, project_id, job_id, base_model, adapter_path, created_at)"
                " SELECT 'ft:base:tuneway::mine', project_id, id, 'base', 'adapters/x', now() FROM fine_tuning_jobs"
            )
            await session.execute(text(row))
            await session.execute(text("INSERT INTO changes (name, version) VALUES ('models', 99)"))
        await sv.mirrors.refresh()
        assert (await create_job(client, model="ft:base:tuneway::mine"))["model"] == "ft:base:tuneway::mine"
        assert job["model"] == BASE
        assert (await refused(stranger, 404, model="ft:base:tuneway::mine"))["code"] == "model_not_found"
