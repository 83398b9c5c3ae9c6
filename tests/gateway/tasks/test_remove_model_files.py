"""Halves of published models, as a worker leaves them that is killed while it copies or removes."""

from pathlib import Path

import pytest

from gateway.services import WorkerServices
from gateway.tasks.remove_model_files import remove_model_files
from tests.fakes.tuned_models import write_adapter

pytestmark = pytest.mark.anyio


@pytest.fixture
def adapters(wv: WorkerServices) -> Path:
    return wv.settings.data_dir / "adapters"


def left(adapters: Path) -> list[str]:
    return sorted(path.name for path in adapters.iterdir())


class TestHalves:
    async def test_of_a_removal_go_at_once(self, wv: WorkerServices, adapters: Path) -> None:
        write_adapter(adapters / ".ftjob-1.leaving")
        await remove_model_files(wv)
        assert left(adapters) == []

    async def test_of_a_copy_go_once_nobody_writes_to_it_any_more(self, wv: WorkerServices, adapters: Path) -> None:
        write_adapter(adapters / ".ftjob-1-step-8.0a1b2c3d" / "deep")
        await remove_model_files(wv)
        assert left(adapters) == [".ftjob-1-step-8.0a1b2c3d"]
        await remove_model_files(wv, orphan_after=-1.0)
        assert left(adapters) == []

    async def test_are_told_from_models_and_from_files(self, wv: WorkerServices, adapters: Path) -> None:
        write_adapter(adapters / "ftjob-2")
        (adapters / ".gitkeep").touch()
        write_adapter(adapters / ".ftjob-1.leaving")
        await remove_model_files(wv)
        assert left(adapters) == [".gitkeep", "ftjob-2"]
