"""/v1/lineage"""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import null, select, update

from gateway.db.database import Database
from gateway.db.tables import (
    DatasetItemRow,
    DatasetVersionRow,
    EvalRunRow,
    FileRow,
    FineTuningCheckpointRow,
    JudgmentRow,
    ModelRow,
    TrainingExampleRow,
)
from gateway.kit.clock import now
from gateway.kit.keyed_hash import end_user_hash
from gateway.settings import Settings
from tests.fakes.datasets import add_dataset
from tests.fakes.engine import BASE
from tests.fakes.evals import add_run
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.routes.test_exchanges import add
from tests.gateway.routes.test_training_examples import said
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

LINEAGE = "/v1/lineage"
Client = httpx.AsyncClient
Edges = set[tuple[str, str, str]]


@dataclass(frozen=True)
class World:
    """A call that was judged became a row of a dataset, of which a model was trained, which an eval tested."""

    exchange: str
    judgment: str
    dataset: str
    version: str
    file: str
    job: str
    checkpoint: str
    step: str
    """The checkpoint's model."""
    model: str
    run: str
    user: str
    """Hash."""

    @property
    def edges(self) -> Edges:
        return {
            (self.exchange, self.judgment, "judged"),
            (self.exchange, self.version, "row_of"),
            (self.judgment, self.version, "counted_in"),
            (self.version, self.file, "training_file_of"),
            (self.file, self.job, "trained_on"),
            (self.job, self.checkpoint, "saved"),
            (self.checkpoint, self.step, "published"),
            (self.job, self.model, "made"),
            (self.model, self.run, "tested_in"),
        }


@pytest.fixture
async def world(client: Client, database: Database, settings: Settings, project_key: dict[str, Any]) -> World:
    project = project_key["project_id"]
    user = end_user_hash("ann", project, settings.secret_key.reveal())
    call = {"project_id": project, "reply_id": "chatcmpl-a", "end_user": user, "error": null()}
    [exchange] = await add(database, call)
    told = await client.post("/v1/feedback", json={"completion_id": exchange, "thumbs": "up"})
    judgment = told.json()["judgments"][0]["id"]
    form = {"file": ("rows.jsonl", b"{}"), "purpose": (None, "user_data")}
    file = (await client.post("/v1/files", files=form)).json()["id"]
    dataset = (await add_dataset(database, project, "best", file_id=file, exchange_id=exchange))["dataset_id"]
    job = await add_job(database, project_key, training_file=file)
    model, step = await add_tuned(database, job), await add_tuned(database, job, step=2)
    run = (await add_run(database, project))["run_id"]
    async with database.session() as session:
        version = (await session.scalars(select(DatasetVersionRow))).one().id
        await session.execute(update(DatasetItemRow).values(judgment_ids=[judgment], end_user=user))
        await session.execute(update(EvalRunRow).values(model=model.id))
        session.add(FineTuningCheckpointRow(id="ftckpt_1", job_id=job.id, created_at=now(), step=2, metrics={}))
    return World(
        exchange=exchange, judgment=judgment, dataset=dataset, version=version, file=file, job=job.id,
        checkpoint="ftckpt_1", step=step.id, model=model.id, run=run, user=user,
    )  # fmt: skip


async def lineage(client: Client, id: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"{LINEAGE}/{id}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def edges(found: dict[str, Any]) -> Edges:
    return {(each["from"], each["to"], each["type"]) for each in found["edges"]}


def types(found: dict[str, Any]) -> dict[str, str]:
    return {node["id"]: node["type"] for node in found["nodes"]}


class TestUpAndDown:
    async def test_from_a_call_to_the_eval_of_the_model(self, client: Client, world: World) -> None:
        found = await lineage(client, world.exchange, direction="down")
        assert edges(found) == world.edges
        assert (found["object"], found["id"], found["omitted"], found["truncated"]) == (
            "lineage", world.exchange, [], False,
        )  # fmt: skip
        assert types(found) == {
            world.exchange: "exchange", world.judgment: "judgment", world.version: "dataset_version", world.file: "file",
            world.job: "job", world.checkpoint: "checkpoint", world.step: "model", world.model: "model",
            world.run: "eval_run",
        }  # fmt: skip
        labels = {node["id"]: node["label"] for node in found["nodes"]}
        assert labels[world.version] == "best v1"
        assert labels[world.judgment] == "thumbs by human"
        assert labels[world.file] == "rows.jsonl"

    async def test_and_back(self, client: Client, world: World) -> None:
        """Without what also came of the same: the checkpoint, and its model."""
        beside = {world.checkpoint, world.step}
        found = await lineage(client, world.run, direction="up")
        base = (BASE, world.job, "base_of")
        assert edges(found) == {each for each in world.edges if not {each[0], each[1]} & beside} | {base}
        assert types(found)[BASE] == "base_model"

    async def test_of_any_of_them(self, client: Client, world: World) -> None:
        """Both ways, each end is reached from everything in between."""
        for id in (world.judgment, world.version, world.dataset, world.file, world.job, world.model):
            reached = set(types(await lineage(client, id)))
            assert {world.exchange, world.model, world.run} <= reached, id
        assert world.exchange in types(await lineage(client, world.checkpoint))
        assert types(await lineage(client, "chatcmpl-a"))[world.exchange] == "exchange"

    async def test_examples_by_hand(self, client: Client, database: Database, world: World) -> None:
        made = (await client.post("/v1/training_examples", json={"line": said("x")})).json()["id"]
        async with database.session() as session:
            await session.execute(update(DatasetItemRow).values(example_id=made))
        assert (made, world.version, "row_of") in edges(await lineage(client, made))
        assert (made, world.version, "row_of") in edges(await lineage(client, world.model, direction="up"))

    async def test_what_was_deleted_stays_and_says_so(self, client: Client, database: Database, world: World) -> None:
        assert (await client.delete(f"/v1/exchanges/{world.exchange}")).status_code == 200
        await client.delete(f"/v1/datasets/{world.dataset}")
        async with database.session() as session:
            await session.execute(update(ModelRow).values(deleted_at=now()))
        found = await lineage(client, world.model, direction="up")
        gone = {node["id"] for node in found["nodes"] if node["deleted_at"]}
        assert {world.exchange, world.version, world.model} <= gone
        assert world.file not in gone

    async def test_a_model_trained_on_its_own_answers_ends(
        self, client: Client, database: Database, world: World
    ) -> None:
        """A circle is walked once."""
        [own] = await add(database, {"id": f"req_{'f' * 32}", "project_id": await project_of(database, world),
                                     "served_model": world.model})  # fmt: skip
        async with database.session() as session:
            await session.execute(update(DatasetItemRow).values(exchange_id=own))
        found = await lineage(client, world.model, depth=20)
        assert (world.model, own, "answered") in edges(found)
        assert found["truncated"] is False


async def project_of(database: Database, world: World) -> str:
    async with database.session() as session:
        return (await session.scalars(select(JudgmentRow.project_id).where(JudgmentRow.id == world.judgment))).one()


class TestBounds:
    async def test_counts_instead_of_a_thousand_exchanges(
        self, client: Client, database: Database, world: World
    ) -> None:
        project = await project_of(database, world)
        calls = await add(database, *[{"project_id": project, "id": f"req_{n:032x}"} for n in range(30)])
        async with database.session() as session:
            for number, call in enumerate(calls, 2):
                session.add(
                    DatasetItemRow(
                        version_id=world.version, number=number, split="training", kind="sft", sha256="", cluster="",
                        exchange_id=call, judgment_ids=[],
                    )
                )  # fmt: skip
        found = await lineage(client, world.job, direction="up", breadth=5)
        shown = [id for id, kind in types(found).items() if kind == "exchange"]
        assert len(shown) == 5
        assert found["omitted"] == [{"id": world.version, "type": "exchange", "direction": "up", "count": 26}]
        few = await lineage(client, world.job, direction="up", breadth=100, limit=10)
        assert (len(few["nodes"]), few["truncated"]) == (10, True)

    async def test_depth(self, client: Client, world: World) -> None:
        found = await lineage(client, world.exchange, direction="down", depth=1)
        assert set(types(found)) == {world.exchange, world.judgment, world.version}
        assert found["truncated"] is True

    async def test_says_what_is_wrong(self, client: Client, world: World) -> None:
        for name, value in (("direction", "left"), ("depth", 0), ("limit", 1001), ("breadth", "x")):
            answer = await client.get(f"{LINEAGE}/{world.job}", params={name: value})
            assert error_in(answer, 400)["param"] == name
        for id in ("req_x", "file-x", BASE, "ft:x", "a%00b"):
            assert (await client.get(f"{LINEAGE}/{id}")).status_code in (400, 404), id


class TestPerson:
    async def test_data_jobs_and_models(self, client: Client, world: World) -> None:
        found = (await client.get(LINEAGE, params={"user": "ann"})).json()
        assert (found["object"], found["exchanges"], found["erased_exchanges"]) == ("lineage.user", 1, 0)
        (dataset,) = found["datasets"]
        assert (dataset["dataset_id"], dataset["version"], dataset["rows"], dataset["erased_rows"]) == (
            world.dataset, 1, 1, 0,
        )  # fmt: skip
        assert (dataset["training_file"], dataset["files_deleted"]) == (world.file, False)
        assert [job["id"] for job in found["jobs"]] == [world.job]
        assert {(each["id"], each["live"], each["inherited"]) for each in found["models"]} == {
            (world.model, True, False), (world.step, True, False),
        }  # fmt: skip

    async def test_also_when_it_was_erased(self, client: Client, world: World) -> None:
        """The file has the row until the dataset is built anew, and the model learnt it."""
        assert (await client.delete("/v1/exchanges", params={"user": "ann"})).json()["exchanges"] == 1
        found = (await client.get(LINEAGE, params={"user": "ann"})).json()
        assert (found["exchanges"], found["erased_exchanges"], found["datasets"][0]["erased_rows"]) == (1, 1, 1)
        assert len(found["models"]) == 2

    async def test_what_is_deleted_is_not_live(self, client: Client, database: Database, world: World) -> None:
        async with database.session() as session:
            await session.execute(update(ModelRow).where(ModelRow.id == world.model).values(deleted_at=now()))
            await session.execute(update(FileRow).values(deleted_at=now()))
        found = (await client.get(LINEAGE, params={"user": "ann"})).json()
        assert [each["id"] for each in found["models"] if each["live"]] == [world.step]
        assert found["datasets"][0]["files_deleted"] is True

    async def test_models_of_models_inherit(
        self, client: Client, database: Database, world: World, project_key: dict[str, Any]
    ) -> None:
        job = await add_job(database, project_key, "ftjob-zzzzzzzz87654321", model=world.model)
        heir = await add_tuned(database, job)
        found = (await client.get(LINEAGE, params={"user": "ann"})).json()
        assert {each["id"] for each in found["models"] if each["inherited"]} == {heir.id}
        assert [each["id"] for each in found["jobs"]] == [world.job]

    async def test_rows_of_validation_are_not_learnt(self, client: Client, database: Database, world: World) -> None:
        async with database.session() as session:
            await session.execute(update(DatasetItemRow).values(split="validation"))
        found = (await client.get(LINEAGE, params={"user": "ann"})).json()
        assert (len(found["datasets"]), found["jobs"], found["models"]) == (1, [], [])

    @pytest.mark.parametrize("way", ["rejected", "example", "edit"])
    async def test_every_way_into_a_row(self, client: Client, database: Database, world: World, way: str) -> None:
        """Also as the rejected answer, through an example, and as an edit that the person wrote of somebody else's call."""
        changes: dict[str, Any] = {"end_user": None, "exchange_id": f"req_{'a' * 32}", "judgment_ids": []}
        if way == "rejected":
            changes["other_exchange_id"] = world.exchange
        elif way == "example":
            changes["example_id"] = await copied(client, database, world)
        else:
            [call] = await add(database, {"id": f"req_{'a' * 32}", "project_id": await project_of(database, world)})
            word = {"completion_id": call, "correction": "Better.", "user": "ann"}
            changes["judgment_ids"] = [(await client.post("/v1/feedback", json=word)).json()["judgments"][0]["id"]]
        async with database.session() as session:
            await session.execute(update(DatasetItemRow).values(**changes))
        found = (await client.get(LINEAGE, params={"user": "ann"})).json()
        assert [each["rows"] for each in found["datasets"]] == [1]
        nobody = (await client.get(LINEAGE, params={"user": "bob"})).json()
        assert (nobody["exchanges"], nobody["datasets"], nobody["jobs"], nobody["models"]) == (0, [], [], [])

    async def test_needs_somebody(self, client: Client) -> None:
        assert error_in(await client.get(LINEAGE), 400)["param"] == "user"


async def copied(client: Client, database: Database, world: World) -> str:
    """An example that was made of the call."""
    made = (await client.post("/v1/training_examples", json={"line": said("x")})).json()["id"]
    async with database.session() as session:
        await session.execute(update(TrainingExampleRow).values(exchange_id=world.exchange))
    return made
