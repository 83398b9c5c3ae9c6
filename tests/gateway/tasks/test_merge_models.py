"""Merged weights are made by another process, once, and go when nobody wants them."""

import asyncio
import dataclasses
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.db.tables import ModelRow
from gateway.fine_tuning.exports import MERGING_LOCK, Export, lock
from gateway.fine_tuning.models import delete_model
from gateway.services import WorkerServices
from gateway.tasks import merge_models
from gateway.tasks.merge_models import merge_model, remove_unused_exports, start_merging
from tests.fakes.fine_tuning import until
from tests.fakes.tuned_models import add_job, add_tuned

pytestmark = pytest.mark.anyio

MERGER = """
import os, pathlib, sys, time
base, adapter, output = sys.argv[-3:]
with open(os.path.join(os.path.dirname(output), "..", "merges"), "a") as told:
    told.write(f"{os.getpid()} {base} {adapter}\\n")
os.mkdir(output)
pathlib.Path(output, "model.safetensors").write_text("half")
{then}
pathlib.Path(output, "model.safetensors").write_text("whole")
"""


def merger(then: str = "") -> tuple[str, ...]:
    return (sys.executable, "-c", MERGER.replace("{then}", then))


@pytest.fixture
async def model(wv: WorkerServices, project_key: dict[str, Any]) -> ModelRow:
    return await add_tuned(wv.database, await add_job(wv.database, project_key), wv.settings.data_dir)


@pytest.fixture
def export(wv: WorkerServices, model: ModelRow) -> Export:
    return Export(wv.settings.data_dir, Path(model.adapter_path).name)


def merges(wv: WorkerServices) -> list[list[str]]:
    path = wv.settings.data_dir / "merges"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def left(wv: WorkerServices) -> list[str]:
    return sorted(path.name for path in (wv.settings.data_dir / "exports").iterdir() if path.suffix != ".lock")


class TestMergeModel:
    async def test_leaves_the_weights_complete(self, wv: WorkerServices, model: ModelRow, export: Export) -> None:
        await merge_model(wv, model.id, merger())
        assert (export.directory / "model.safetensors").read_text() == "whole"
        [(_, base, adapter)] = merges(wv)
        assert (base, adapter) == (wv.settings.engine.model_path, str(wv.settings.data_dir / model.adapter_path))
        assert left(wv) == [export.name]

    async def test_asked_for_again_and_again_it_is_made_once(
        self, wv: WorkerServices, model: ModelRow, export: Export
    ) -> None:
        slow = merger("time.sleep(0.3)")
        await asyncio.gather(*(merge_model(wv, model.id, slow) for _ in range(4)))
        await merge_model(wv, model.id, slow)
        assert len(merges(wv)) == 1
        assert export.is_ready

    async def test_one_model_at_a_time(self, wv: WorkerServices, model: ModelRow, export: Export) -> None:
        with lock(wv.settings.data_dir, MERGING_LOCK):
            merging = asyncio.ensure_future(merge_model(wv, model.id, merger()))
            await asyncio.wait({merging}, timeout=0.7)
            assert merges(wv) == []
        await merging
        assert export.is_ready

    async def test_one_that_waits_has_no_place_of_the_queue(
        self, wv: WorkerServices, model: ModelRow, export: Export, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(merge_models, "merge_model", partial(merge_model, command=merger()))
        with lock(wv.settings.data_dir, MERGING_LOCK):
            await asyncio.wait_for(start_merging(wv, model.id), 5)
            assert merges(wv) == []
        await until(lambda: export.is_ready)

    @pytest.mark.parametrize(
        ("then", "reason"),
        [
            ("print('noise'); sys.exit('The adapter does not fit.')", "The adapter does not fit."),
            ("os.kill(os.getpid(), 9)", "The merging process ended unexpectedly."),
        ],
    )
    async def test_failure_is_kept_for_whoever_waits_and_leaves_nothing_half_made(
        self, wv: WorkerServices, model: ModelRow, export: Export, then: str, reason: str
    ) -> None:
        await merge_model(wv, model.id, merger(then))
        assert export.failure == reason
        assert left(wv) == [f".{export.name}.failed"]
        export.forget_failure()
        await merge_model(wv, model.id, merger())
        assert export.is_ready
        assert export.failure is None

    async def test_worker_that_stops_ends_its_process(
        self, wv: WorkerServices, model: ModelRow, export: Export
    ) -> None:
        merging = asyncio.ensure_future(merge_model(wv, model.id, merger("time.sleep(600)")))
        await until(lambda: bool(merges(wv)) and bool(left(wv)))
        pid = int(merges(wv)[0][0])
        merging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await merging
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert left(wv) == []

    async def test_what_a_worker_that_died_has_left_is_cleared(
        self, wv: WorkerServices, model: ModelRow, export: Export
    ) -> None:
        leftover = export.directory.with_name(f".{export.name}.making-1")
        leftover.mkdir(parents=True)
        await merge_model(wv, model.id, merger())
        assert left(wv) == [export.name]

    async def test_another_base_is_refused(self, wv: WorkerServices, model: ModelRow, export: Export) -> None:
        settings = msgspec.structs.replace(
            wv.settings, engine=msgspec.structs.replace(wv.settings.engine, model="another")
        )
        await merge_model(dataclasses.replace(wv, settings=settings), model.id, merger())
        assert export.failure == "It was made from the base model `base`, but this server has `another` now."
        assert merges(wv) == []

    async def test_deleted_model_is_left_alone(self, wv: WorkerServices, model: ModelRow, export: Export) -> None:
        async with wv.database.session() as session:
            await delete_model(session, model.project_id, model.id)
        await merge_model(wv, model.id, merger())
        assert merges(wv) == []


class TestRemoveUnusedExports:
    async def test_those_of_a_day_ago_and_of_deleted_models(
        self, wv: WorkerServices, project_key: dict[str, Any], model: ModelRow, export: Export
    ) -> None:
        other = await add_tuned(
            wv.database, await add_job(wv.database, project_key, "ftjob-other"), wv.settings.data_dir
        )
        for row in (model, other):
            await merge_model(wv, row.id, merger())
        await remove_unused_exports(wv)
        assert left(wv) == sorted([export.name, "ftjob-other"])
        yesterday = time.time() - 86_500
        os.utime(export.directory, (yesterday, yesterday))
        export.use()
        await remove_unused_exports(wv)
        assert export.is_ready
        os.utime(export.directory, (yesterday, yesterday))
        async with wv.database.session() as session:
            await delete_model(session, other.project_id, other.id)
        await remove_unused_exports(wv)
        assert left(wv) == []
