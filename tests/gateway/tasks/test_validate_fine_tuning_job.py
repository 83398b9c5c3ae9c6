"""From a new job to one that is queued, or failed with the lines to mend."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gateway.datasets.validation import Interrupted
from gateway.db.tables import FileRow, FineTuningJobRow
from gateway.errors import Unavailable
from gateway.fine_tuning import estimates
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks import validate_fine_tuning_job as task
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.fine_tuning import QUICK, TEN, create_job, example, job_of, jsonl, messages_of, until, upload
from tests.gateway.datasets.files import pair, varied
from trainer.contract import HardwareDescription

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
MACHINE = HardwareDescription(
    device="cpu", name="CPU", devices=1, memory_bytes=8_000_000_000, dtype="float32", flops_per_second=1e11
)


@pytest.fixture
async def wv(wv: WorkerServices) -> WorkerServices:
    """A worker that validates and does not train."""
    while not wv.training.locked():
        await wv.training.acquire()
    return wv


@pytest.fixture(autouse=True)
async def training_allowed_again(wv: WorkerServices) -> Any:
    yield
    wv.training.release()


async def validated(client: Client, wv: WorkerServices, content: bytes = TEN, **fields: Any) -> dict[str, Any]:
    job = await create_job(client, content, **fields)
    await validate_fine_tuning_job(wv, job["id"], QUICK)
    return await job_of(client, job["id"])


class TestGoodFiles:
    async def test_job_is_queued_and_free_for_training(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv)
        assert job["status"] == "queued"
        async with wv.database.session() as session:
            row = await session.get(FineTuningJobRow, job["id"])
            assert row is not None
            assert (row.lease_holder, row.leased_until) == (None, None)

    async def test_validation_file_is_told_and_copied(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        other = jsonl(example())
        job = await validated(client, wv, validation_file=await upload(client, other))
        told = f"Validating training file: {job['training_file']} and validation file: {job['validation_file']}"
        assert told in await messages_of(client, job["id"])
        directory = settings.data_dir / "jobs" / job["id"]
        assert (directory / "training.jsonl").read_bytes() == TEN
        assert (directory / "validation.jsonl").read_bytes() == other
        assert sorted(path.name for path in directory.iterdir()) == ["training.jsonl", "validation.jsonl"]

    async def test_byte_order_mark_does_not_reach_the_trainer(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await validated(client, wv, b"\xef\xbb\xbf" + TEN)
        assert job["status"] == "queued"
        assert (settings.data_dir / "jobs" / job["id"] / "training.jsonl").read_bytes() == TEN

    async def test_repeated_it_changes_nothing(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv)
        told = await messages_of(client, job["id"])
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await validate_fine_tuning_job(wv, "ftjob-unknown", QUICK)
        assert await messages_of(client, job["id"]) == told


class TestBadFiles:
    async def test_one_bad_line_is_the_jobs_error(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, TEN + b"{oops\n")
        assert job["status"] == "failed"
        assert job["finished_at"] is not None
        assert job["error"]["code"] == "invalid_training_file"
        assert job["error"]["param"] == "training_file"
        opening = (
            "The job failed due to an invalid training file. Invalid file format. Example 11 (line 11): line contains"
        )
        assert job["error"]["message"].startswith(opening)
        assert (await messages_of(client, job["id"]))[-1] == job["error"]["message"]

    async def test_many_bad_lines_are_events_and_bounded(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, b"{}\n" * 50)
        assert "50 examples have problems" in job["error"]["message"]
        told = await messages_of(client, job["id"])
        assert sum(message.startswith("Example ") for message in told) == task.MAX_TOLD
        events = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=100")).json()["data"]
        assert [event["level"] for event in events].count("error") == task.MAX_TOLD + 1

    async def test_bad_validation_file_is_named(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, validation_file=await upload(client, b"[]\n"))
        assert job["error"]["code"] == "invalid_validation_file"
        assert job["error"]["param"] == "validation_file"
        assert "invalid validation file" in job["error"]["message"]

    @pytest.mark.parametrize(("content", "count"), [(b"", 0), (b"\n\r\n  \n", 0), (jsonl(example()) * 3, 3)])
    async def test_too_few_examples_in_openais_words(
        self, client: Client, wv: WorkerServices, content: bytes, count: int
    ) -> None:
        job = await validated(client, wv, content)
        message = f"Training file has {count} example(s), but must have at least 10 examples"
        assert job["error"] == {"code": "invalid_n_examples", "message": message, "param": "training_file"}

    async def test_empty_validation_file(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, validation_file=await upload(client, b""))
        assert job["error"]["code"] == "invalid_n_examples"
        assert job["error"]["param"] == "validation_file"

    @pytest.mark.parametrize(
        "line",
        [
            b'{"messages": [{"role": "bot\\u0000", "content": "x"}]}',
            b'{"messages": ' + b"[" * 100_000 + b"\n",
            b'{"messages": 5, oops',
            b'{"messages": [{"role": "' + b"x" * 1_000_000 + b'", "content": "x"}]}',
            b"\xff\xfe{\x00",
        ],
        ids=["nul", "deep", "broken-behind-a-wrong-type", "long-quote", "utf-16"],
    )
    async def test_odd_bytes_fail_the_job_and_never_get_stuck(
        self, client: Client, wv: WorkerServices, line: bytes
    ) -> None:
        job = await validated(client, wv, TEN + line + b"\n" + line + b"\n")
        assert job["status"] == "failed"
        assert job["error"]["code"] == "invalid_training_file"
        assert len(json.dumps(job)) < 10_000


class TestRaces:
    async def test_file_deleted_before_validation_fails_the_job(self, client: Client, wv: WorkerServices) -> None:
        job = await create_job(client)
        await client.delete(f"/v1/files/{job['training_file']}")
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        failed = await job_of(client, job["id"])
        assert failed["error"]["code"] == "file_not_found"
        assert failed["error"]["param"] == "training_file"
        assert "upload it again" in failed["error"]["message"]

    async def test_content_that_is_gone_fails_the_job(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        job = await create_job(client)
        (settings.data_dir / "blobs" / job["training_file"]).unlink()
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["error"]["code"] == "file_not_found"

    async def test_worker_that_lost_the_job_does_not_write_into_the_copy_of_the_next(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file_id = await upload(client, TEN)
        async with wv.database.session() as session:
            project_id = (await session.get_one(FileRow, file_id)).project_id
        both = asyncio.Barrier(2)

        async def in_step(_: str) -> AsyncIterator[bytes]:
            yield TEN[:100]
            await both.wait()
            yield TEN[100:]

        monkeypatch.setattr(wv.files, "get", in_step)
        path = settings.data_dir / "jobs" / "ftjob-1" / "training.jsonl"
        await asyncio.gather(*(task._fetch(wv, project_id, file_id, "training_file", path) for _ in range(2)))
        assert path.read_bytes() == TEN
        assert [each.name for each in path.parent.iterdir()] == ["training.jsonl"]

    async def test_copy_that_breaks_off_leaves_nothing(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_: str) -> AsyncIterator[bytes]:
            yield TEN[:100]
            raise Unavailable("the storage is away")

        monkeypatch.setattr(wv.files, "get", away)
        job = await create_job(client)
        with pytest.raises(Unavailable):
            await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert list((settings.data_dir / "jobs" / job["id"]).iterdir()) == []

    async def test_estimate_that_takes_too_long_costs_the_estimate_only(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(estimates, "SECONDS", 0.0)
        async with wv.database.session() as session:
            await estimates.save_hardware(session, "host", MACHINE)
        job = await validated(client, wv)
        assert job["status"] == "queued"
        assert job["estimate"] is None

    async def test_second_validation_at_the_same_time_leaves_the_job_alone(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)
        calls: list[str] = []
        check = task._check_files

        async def slow(*arguments: Any) -> None:
            calls.append("check")
            await asyncio.sleep(0.1)
            await check(*arguments)

        monkeypatch.setattr(task, "_check_files", slow)
        await asyncio.gather(*(validate_fine_tuning_job(wv, job["id"], QUICK) for _ in range(3)))
        assert calls == ["check"]
        assert (await job_of(client, job["id"]))["status"] == "queued"

    async def test_that_lost_its_lease_decides_nothing(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def taken_meanwhile(*_: Any) -> None:
            async with wv.database.session() as session:
                await session.execute(text("UPDATE fine_tuning_jobs SET lease_holder = 'other', status = 'running'"))
            raise task.Failure("file_not_found", "too late")

        monkeypatch.setattr(task, "_check_files", taken_meanwhile)
        job = await validated(client, wv)
        assert job["status"] == "running"
        assert job["error"] is None

    async def test_cancel_during_validation_stays(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)

        async def cancelled_meanwhile(*_: Any) -> None:
            await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")

        monkeypatch.setattr(task, "_check_files", cancelled_meanwhile)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "cancelled"
        assert (await messages_of(client, job["id"]))[-1] == "Fine-tuning job cancelled"

    async def test_storage_that_is_away_leaves_the_job_for_the_next_try(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: Any) -> None:
            raise Unavailable("the storage is away")

        job = await create_job(client)
        with monkeypatch.context() as patched:
            patched.setattr(task, "_check_files", away)
            with pytest.raises(Unavailable):
                await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "validating_files"
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        assert (await job_of(client, job["id"]))["status"] == "queued"

    async def test_surprise_fails_the_job_instead_of_repeating_for_ever(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def full(*_: Any) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(task, "_check_files", full)
        job = await validated(client, wv)
        assert job["error"]["code"] == "server_error"


class TestWhatIsTold:
    async def events(self, client: Client, job: dict[str, Any]) -> list[tuple[str, str]]:
        events = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=100")).json()["data"]
        return [(event["level"], event["message"]) for event in events][::-1]

    async def test_good_file_is_summed_up(self, client: Client, wv: WorkerServices) -> None:
        told = await self.events(client, await validated(client, wv, jsonl(*varied(120))))
        assert [message for _, message in told][2:5] == [
            "Training file: 120 examples, about 4,110 tokens, quality score 100 of 100",
            "No validation file was given. With 96 of the examples for training and 24 for validation (80/20), the "
            "validation loss would show when the model begins to memorize.",
            "Files validated, moving job to queued state",
        ]
        assert {level for level, _ in told} == {"info"}

    async def test_each_warning_says_what_to_do(self, client: Client, wv: WorkerServices) -> None:
        content = jsonl(*varied(110), *varied(5))
        told = await self.events(
            client, await validated(client, wv, content, validation_file=await upload(client, TEN))
        )
        warnings = [message for level, message in told if level == "warn"]
        assert warnings[0] == (
            "Training file: 5 examples repeated word for word (lines 111, 112, 113, 114, 115, ...). Keep one of each: "
            "repeated examples are learnt by heart, at the cost of the others."
        )
        assert any(message.startswith("Validation file: ") for message in warnings)
        assert not any("No validation file" in message for _, message in told)

    async def test_report_is_kept_on_the_file(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv)
        async with wv.database.session() as session:
            row = await session.get(FileRow, job["training_file"])
            assert row is not None
            assert row.report is not None
            assert row.report["reports"]["supervised"]["examples"] == 10
            row.report = row.report | {"reports": {"supervised": row.report["reports"]["supervised"] | {"score": 7}}}
        for query in ("", "?method=supervised"):
            answer = await client.get(f"/v1/files/{job['training_file']}/report{query}")
            assert answer.json()["report"]["score"] == 7

    async def test_context_length_of_the_job_counts(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, jsonl(*varied(110)), training={"context_length": 20})
        [warning] = [message for level, message in await self.events(client, job) if level == "warn"]
        assert "110 examples longer than the context of 20 tokens" in warning
        report = (await client.get(f"/v1/files/{job['training_file']}/report")).json()["report"]
        assert report["tokens"]["over_long"] == 0


class TestMethods:
    async def test_preference_file_for_dpo(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, jsonl(*[pair()] * 12), method={"type": "dpo"})
        assert job["status"] == "queued", job["error"]

    @pytest.mark.parametrize(
        ("content", "method", "name", "other"),
        [
            (jsonl(pair()) * 12, "supervised", "fine-tune-preference", "dpo"),
            (jsonl(example()) * 12, "dpo", "fine-tune-chat", "supervised"),
        ],
    )
    async def test_file_of_the_other_method_in_openais_words(
        self, client: Client, wv: WorkerServices, content: bytes, method: str, name: str, other: str
    ) -> None:
        job = await validated(client, wv, content, method={"type": method})
        assert job["error"]["code"] == "invalid_training_file"
        told = (
            f"Input file {job['training_file']} is in the {name} format, but the specified fine-tuning job is not using "
            f"'{other}'."
        )
        assert told in job["error"]["message"]
        assert sum(message.startswith("Example ") for message in await messages_of(client, job["id"])) == 0

    async def test_prompt_and_completion_pairs(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, jsonl({"prompt": "a", "completion": "b"}) * 12)
        assert "Unexpected file format" in job["error"]["message"]
        assert "/v1/datasets/import" in job["error"]["message"]

    async def test_mixed_file_is_told_line_by_line(self, client: Client, wv: WorkerServices) -> None:
        job = await validated(client, wv, TEN + jsonl(pair()) + TEN)
        assert "Example 11 (line 11): the line is in the preference format" in job["error"]["message"]


class TestStopping:
    async def test_reading_ends_soon_after_the_task_is_cancelled(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)
        reading, ended = threading.Event(), threading.Event()

        def endless(*_: Any, stop: threading.Event, **__: Any) -> None:
            reading.set()
            stop.wait(30)
            ended.set()

        monkeypatch.setattr(task, "validate_path", endless)
        validating = asyncio.ensure_future(validate_fine_tuning_job(wv, job["id"], QUICK))
        await until(reading.is_set)
        validating.cancel()
        await asyncio.gather(validating, return_exceptions=True)
        await until(ended.is_set)
        assert (await job_of(client, job["id"]))["status"] == "validating_files"

    async def test_reading_ends_soon_after_the_job_is_cancelled(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await create_job(client)
        reading = threading.Event()

        def endless(*_: Any, stop: threading.Event, **__: Any) -> None:
            reading.set()
            assert stop.wait(20)
            raise Interrupted

        monkeypatch.setattr(task, "validate_path", endless)
        validating = asyncio.ensure_future(validate_fine_tuning_job(wv, job["id"], QUICK))
        await until(reading.is_set)
        await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        await validating
        assert (await job_of(client, job["id"]))["status"] == "cancelled"
        assert (await messages_of(client, job["id"]))[-1] == "Fine-tuning job cancelled"
