"""/v1/fine_tuning/jobs through the application; the work itself is in tests/gateway/tasks."""

import re
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.errors import Unavailable
from gateway.fine_tuning import repository
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.contract import conforms
from tests.fakes.engine import BASE
from tests.fakes.fine_tuning import create_job, job_of, messages_of, upload

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

    async def test_queue_that_is_away_does_not_lose_the_job(
        self, client: Client, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: object, **__: object) -> None:
            raise Unavailable("Redis is away")

        monkeypatch.setattr(sv.queue, "enqueue", away)
        job = await create_job(client)
        async with sv.database.session() as session:
            assert await repository.unvalidated(session, 0) == [job["id"]]


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
            ({"hyperparameters": {"beta": 1}}, "hyperparameters.beta"),
            ({"hyperparameters": []}, "hyperparameters"),
            ({"method": {}}, "method.type"),
            ({"method": {"type": "magic"}}, "method.type"),
            ({"method": {"type": "dpo"}}, "method.type"),
            ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.type"),
            (
                {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 99}}}},
                "method.supervised.hyperparameters.n_epochs",
            ),
            ({"method": {"type": "supervised", "supervised": {"epochs": 1}}}, "method.supervised.epochs"),
            ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
            ({"epochs": 3}, "epochs"),
        ],
    )
    async def test_wrong_field_is_named(self, client: Client, sv: Services, fields: dict[str, Any], param: str) -> None:
        error = await refused(client, **fields)
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        async with sv.database.session() as session:
            assert await repository.unvalidated(session, -60) == []

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

    async def test_method_that_is_not_there_says_which_is(self, client: Client) -> None:
        assert "use 'supervised'" in (await refused(client, method={"type": "dpo"}))["message"]

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
