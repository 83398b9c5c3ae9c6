"""GET /v1/models/{ft}/export; merging itself is in tests/gateway/tasks/test_merge_models.py and tests/trainer."""

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.database import Database
from gateway.db.tables import FileRow, FineTuningCheckpointRow, FineTuningEventRow, ModelRow
from gateway.errors import Unavailable
from gateway.fine_tuning.exports import Export
from gateway.fine_tuning.models import add_model
from gateway.kit.clock import now
from gateway.routes import model_exports
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.conftest import create_key
from tests.fakes.engine import BASE
from tests.fakes.tuned_models import add_job, add_tuned, write_full

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
FOLDER = "ft-base-tuneway-12345678"
BIG = 3 * 1024 * 1024 + 17


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
async def model(database: Database, project_key: dict[str, Any], settings: Settings) -> ModelRow:
    training = {"type": "qlora", "lora_rank": 8, "device": "cpu", "reasons": {"lora_rank": "Small | enough."}}
    job = await add_job(database, project_key, training=training, validation_file="file-2", trained_tokens=300)
    async with database.session() as session:
        session.add(file_row(project_key, "file-1", "a" * 64))
        for step in (1, 2):
            values = {
                "step": step,
                "total_steps": 2,
                "train_loss": 1 / step,
                "full_valid_loss": 0.5 if step == 1 else None,
            }
            event = {"id": f"ftevent-{step}", "job_id": job.id, "key": f"step-{step}", "created_at": now()}
            session.add(FineTuningEventRow(**event, level="info", type="metrics", message="m", values=values))
        session.add(
            FineTuningCheckpointRow(
                id="ftckpt_1", job_id=job.id, created_at=now(), step=1, metrics={"step": 1, "train_loss": 0.125}
            )
        )
    row = await add_tuned(database, job, settings.data_dir)
    (settings.data_dir / row.adapter_path / "adapter_model.safetensors").write_bytes(b"w" * BIG)
    (settings.data_dir / row.adapter_path / "probe.json").write_text('{"token_ids": [1, 2]}')
    return row


def file_row(key: dict[str, Any], file_id: str, sha256: str) -> FileRow:
    return FileRow(
        id=file_id,
        project_id=key["project_id"],
        created_at=now(),
        deleted_at=now(),
        filename="train\n| <b>.jsonl",
        purpose="fine-tune",
        bytes=1234,
        sha256=sha256,
        status="processed",
    )


def opened(answer: httpx.Response) -> dict[str, bytes]:
    """What is in the archive: name -> content."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-tar"
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def error_in(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


class TestAdapter:
    @pytest.mark.parametrize("query", ["", "?format=adapter"])
    @pytest.mark.parametrize("escaped", [False, True])
    async def test_is_a_tar_of_the_adapter_and_its_card(
        self, client: Client, model: ModelRow, query: str, *, escaped: bool
    ) -> None:
        name = model.id.replace(":", "%3A") if escaped else model.id
        answer = await client.get(f"/v1/models/{name}/export{query}")
        files = opened(answer)
        assert sorted(files) == [
            f"{FOLDER}/README.md",
            f"{FOLDER}/adapter_config.json",
            f"{FOLDER}/adapter_model.safetensors",
        ]
        assert files[f"{FOLDER}/adapter_model.safetensors"] == b"w" * BIG
        assert answer.headers["content-disposition"] == f'attachment; filename="{FOLDER}-adapter.tar"'

    async def test_says_no_directory_of_this_machine(self, client: Client, model: ModelRow, settings: Settings) -> None:
        files = opened(await client.get(f"/v1/models/{model.id}/export"))
        config = json.loads(files[f"{FOLDER}/adapter_config.json"])
        assert (config["base_model_name_or_path"], config["r"]) == (BASE, 8)
        path = settings.data_dir / model.adapter_path / "adapter_config.json"
        path.write_text(json.dumps({"base_model_name_or_path": "org/base"}))
        files = opened(await client.get(f"/v1/models/{model.id}/export"))
        assert json.loads(files[f"{FOLDER}/adapter_config.json"])["base_model_name_or_path"] == "org/base"

    async def test_files_deleted_while_they_are_sent_are_sent_to_their_end(
        self, sv: Services, client: Client, model: ModelRow, settings: Settings
    ) -> None:
        answer = await model_exports.export(sv, model.project_id, model.id, "adapter")
        directory = settings.data_dir / model.adapter_path
        for path in directory.iterdir():
            path.unlink()
        pieces = [piece async for piece in answer.iterator]  # type: ignore[union-attr]
        assert sum(map(len, pieces)) == int(answer.headers["content-length"])
        assert b"".join(pieces).count(b"w") >= BIG

    async def test_of_a_checkpoint(
        self, client: Client, database: Database, model: ModelRow, project_key: dict[str, Any], settings: Settings
    ) -> None:
        job = await add_job(database, project_key, "ftjob-child", model=model.id)
        row = await add_tuned(database, job, settings.data_dir, step=4)
        files = opened(await client.get(f"/v1/models/{row.id}/export"))
        card = files["ft-base-tuneway-ob-child-ckpt-step-4/README.md"].decode()
        assert "as it was after optimizer step 4" in card


class TestCard:
    async def test_says_what_it_was_made_from_and_how(self, client: Client, model: ModelRow) -> None:
        card = opened(await client.get(f"/v1/models/{model.id}/export"))[f"{FOLDER}/README.md"].decode()
        assert card.startswith('---\nbase_model: "base"\nlibrary_name: peft\n')
        assert f"# {model.id}\n" in card
        assert f"| training | `file-1` | train \\| &lt;b>.jsonl | 1234 | `{'a' * 64}` |\n" in card
        assert "| validation | `file-2` |  |  | `unknown` |\n" in card
        assert "| lora_rank | 8 | Small \\| enough. |\n" in card
        assert "| n_epochs | 3 |  |\n" in card
        assert "| seed | 7 |  |\n" in card
        assert "| train_loss | 0.5 |\n" in card
        assert "| full_valid_loss | 0.5 |\n" in card
        assert "| trained_tokens | 300 |\n" in card
        assert "PeftModel.from_pretrained" in card
        assert "--max-lora-rank 8" in card
        assert "(supervised, qlora)" in card

    async def test_of_a_checkpoint_has_the_numbers_of_its_step(
        self, client: Client, database: Database, model: ModelRow
    ) -> None:
        owner = {"job_id": model.job_id, "project_id": model.project_id, "base_model": BASE}
        where = {"adapter_path": model.adapter_path, "created_at": now()}
        row = ModelRow(id=f"{model.id}:ckpt-step-1", step=1, **owner, **where)
        async with database.session() as session:
            await add_model(session, row)
        card = opened(await client.get(f"/v1/models/{row.id}/export"))[f"{FOLDER}-ckpt-step-1/README.md"].decode()
        assert "| train_loss | 0.125 |\n" in card
        assert "trained_tokens" not in card

    async def test_lineage_goes_back_to_the_base(
        self, client: Client, database: Database, model: ModelRow, project_key: dict[str, Any], settings: Settings
    ) -> None:
        job = await add_job(database, project_key, "ftjob-child", model=model.id, training_file="file-3")
        row = await add_tuned(database, job, settings.data_dir)
        await client.delete(f"/v1/models/{model.id}")
        answer = await client.get(f"/v1/models/{row.id}/export")
        card = opened(answer)["ft-base-tuneway-ob-child/README.md"].decode()
        lineage = card[card.index("## Lineage") : card.index("## Hyperparameters")].strip().splitlines()[2:]
        assert lineage == [
            "1. `base`, the base",
            f"2. `{model.id}`: job `{model.job_id}`, supervised, on `file-1` (sha256 `{'a' * 64}`)",
            f"3. `{row.id}`: job `ftjob-child`, supervised, on `file-3`",
        ]

    async def test_lineage_tells_nothing_of_another_projects_data(
        self, client: Client, database: Database, model: ModelRow, admin: Client, project_key: dict[str, Any],
        settings: Settings,
    ) -> None:  # fmt: skip
        made = await add_job(database, await create_key(admin, "second"), "ftjob-theirs", training_file="file-1")
        theirs = await add_tuned(database, made)
        job = await add_job(database, project_key, "ftjob-child", model=theirs.id, training_file="file-3")
        row = await add_tuned(database, job, settings.data_dir)
        card = opened(await client.get(f"/v1/models/{row.id}/export"))["ft-base-tuneway-ob-child/README.md"].decode()
        assert f"2. `{theirs.id}`: supervised, by another project\n3. `{row.id}`: job `ftjob-child`" in card
        assert "ftjob-theirs" not in card
        assert "file-1" not in card


class TestMerged:
    @pytest.fixture
    def export(self, model: ModelRow, settings: Settings) -> Export:
        return Export(settings.data_dir, Path(model.adapter_path).name)

    def make(self, export: Export) -> None:
        incomplete = export.incomplete()
        write_full(incomplete)
        export.complete(incomplete)

    async def test_waits_for_the_worker_and_sends_what_it_made(
        self, sv: Services, client: Client, model: ModelRow, export: Export, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, ...]] = []

        async def enqueue(*task: str) -> None:
            asked.append(task)
            asyncio.get_running_loop().call_later(0.05, self.make, export)

        export.directory.parent.mkdir()
        monkeypatch.setattr(sv.queue, "enqueue", enqueue)
        first, files = [opened(await client.get(f"/v1/models/{model.id}/export?format=merged")) for _ in range(2)]
        assert first == files
        names = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
        assert sorted(files) == [f"{FOLDER}/{name}" for name in names]
        assert asked == [("merge_model", model.id)]
        card = files[f"{FOLDER}/README.md"].decode()
        assert "library_name: transformers" in card
        assert "unquantized base" in card

    async def test_that_takes_long_is_503_and_goes_on(
        self, sv: Services, client: Client, model: ModelRow, export: Export, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(model_exports, "WAIT_SECONDS", 0.1)
        answer = await client.get(f"/v1/models/{model.id}/export?format=merged")
        assert error_in(answer, 503)["code"] == "service_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        export.directory.parent.mkdir(exist_ok=True)
        self.make(export)
        assert len(opened(await client.get(f"/v1/models/{model.id}/export?format=merged"))) == 4

    async def test_failure_is_told_and_the_next_call_tries_again(
        self, sv: Services, client: Client, model: ModelRow, export: Export, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export.directory.parent.mkdir()

        async def fails(*_: str) -> None:
            export.fail("No space left on device.")

        async def works(*_: str) -> None:
            asyncio.get_running_loop().call_later(0.05, self.make, export)

        monkeypatch.setattr(sv.queue, "enqueue", fails)
        answer = await client.get(f"/v1/models/{model.id}/export?format=merged")
        assert error_in(answer, 500)["code"] == "export_failed"
        assert "No space left on device." in error_in(answer, 500)["message"]
        assert answer.headers["x-should-retry"] == "false"
        monkeypatch.setattr(sv.queue, "enqueue", works)
        opened(await client.get(f"/v1/models/{model.id}/export?format=merged"))

    async def test_without_a_queue_is_503(
        self, sv: Services, client: Client, model: ModelRow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: str) -> None:
            raise Unavailable("away")

        monkeypatch.setattr(sv.queue, "enqueue", away)
        error_in(await client.get(f"/v1/models/{model.id}/export?format=merged"), 503)


class TestFullWeights:
    async def test_are_sent_from_where_they_lie_and_have_no_adapter(
        self, client: Client, database: Database, project_key: dict[str, Any], settings: Settings
    ) -> None:
        row = await add_tuned(database, await add_job(database, project_key), kind="full")
        write_full(settings.data_dir / row.adapter_path)
        for query in ("", "?format=merged"):
            files = opened(await client.get(f"/v1/models/{row.id}/export{query}"))
            assert f"{FOLDER}/model.safetensors" in files
            assert "(supervised, full)" in files[f"{FOLDER}/README.md"].decode()
        error = error_in(await client.get(f"/v1/models/{row.id}/export?format=adapter"), 400)
        assert error["param"] == "format"
        assert "use format=merged" in error["message"]


class TestRefused:
    async def test_another_format(self, client: Client, model: ModelRow) -> None:
        for wanted in ("gguf", ""):
            error = error_in(await client.get(f"/v1/models/{model.id}/export?format={wanted}"), 400)
            assert error["param"] == "format"

    async def test_another_projects_model(self, stranger: Client, model: ModelRow) -> None:
        for wanted in ("adapter", "merged"):
            error = error_in(await stranger.get(f"/v1/models/{model.id}/export?format={wanted}"), 404)
            assert error["code"] == "model_not_found"

    async def test_files_that_are_gone(self, client: Client, model: ModelRow, settings: Settings) -> None:
        directory = settings.data_dir / model.adapter_path
        directory.rename(directory.with_name("away"))
        error = error_in(await client.get(f"/v1/models/{model.id}/export"), 503)
        assert error["code"] == "model_unavailable"
