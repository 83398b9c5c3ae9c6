"""SIGKILL of the trainer at fifty random moments, in saves too: the curve is that of a run that nobody disturbed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import stack as demo
from tests.trainer.jobs import write_job
from trainer.contract import CheckpointSaved, Message, StepMetrics, Succeeded, decode_event, decode_result

pytestmark = [pytest.mark.train, pytest.mark.slow]

KILLS = 50
BASE = Path(demo.__file__).parents[2] / "trainer" / "starter" / "model"
DATA = Path(demo.__file__).parent / "data"


def lines(name: str, count: int) -> list[Any]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()[:count]]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(killed, undisturbed): directories of the same job, both at their end."""
    if importlib.util.find_spec("trl") is None:
        pytest.skip("training needs TRL: pip install 'tuneway[train]'")
    folder = tmp_path_factory.mktemp("killed")
    fields: dict[str, Any] = {"n_epochs": 9, "batch_size": 4, "seed": 11}
    data = (lines("training.jsonl", 40), lines("validation.jsonl", 5))
    killed, whole = (write_job(folder / name, BASE, *data, **fields) for name in ("killed", "whole"))
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    driver = Path(__file__).with_name("forked_trainer.py")
    command = [sys.executable, str(driver), str(killed), str(whole), str(KILLS), "7"]
    environment = {**os.environ, **quiet, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(BASE.parents[2])}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    counted = json.loads(output.splitlines()[-1])
    assert counted["kills"] == KILLS, "the job ended before it was killed often enough"
    assert counted["torn_saves"] > 0, "no kill came while a checkpoint was saved"
    return killed, whole


def events(directory: Path) -> list[Any]:
    return [decode_event(line) for line in (directory / "events.jsonl").read_bytes().splitlines()]


def curve(directory: Path) -> dict[int, Any]:
    """Readers keep the last event of a step."""
    return {event.metrics.step: event.metrics for event in events(directory) if isinstance(event, StepMetrics)}


class TestFiftyKills:
    def test_leave_one_curve(self, jobs: tuple[Path, Path]) -> None:
        killed, whole = map(curve, jobs)
        assert len(whole) == 90
        assert killed == whole

    def test_leave_one_adapter(self, jobs: tuple[Path, Path]) -> None:
        weights = [(job / "adapter" / "adapter_model.safetensors").read_bytes() for job in jobs]
        assert weights[0] == weights[1]

    def test_leave_one_result(self, jobs: tuple[Path, Path]) -> None:
        results = [decode_result((job / "result.json").read_bytes()) for job in jobs]
        assert all(isinstance(result, Succeeded) for result in results)
        assert results[0].metrics == results[1].metrics  # type: ignore[union-attr]
        assert results[0].trained_tokens == results[1].trained_tokens  # type: ignore[union-attr]

    def test_tell_each_checkpoint_once(self, jobs: tuple[Path, Path]) -> None:
        steps = [[event.step for event in events(job) if isinstance(event, CheckpointSaved)] for job in jobs]
        assert steps[0] == steps[1] == list(range(10, 91, 10))

    def test_leave_no_gap_in_the_events(self, jobs: tuple[Path, Path]) -> None:
        told = events(jobs[0])
        assert [event.sequence for event in told] == list(range(1, len(told) + 1))
        assert sum(isinstance(event, Message) and "Going on after step" in event.message for event in told) > KILLS // 3
