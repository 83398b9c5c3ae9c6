from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch

from trainer import devices
from trainer.contract import TrainingSpec
from trainer.events import EventLog
from trainer.failures import TrainingFailed
from trainer.hardware import Hardware
from trainer.job import Job
from trainer.memory_saving import next_try
from trainer.stopping import Stop


class TestNextTry:
    @pytest.fixture
    def job(self, tmp_path: Path) -> Job:
        return Job(
            directory=tmp_path,
            spec=TrainingSpec(job_id="ftjob-1", base_model="model"),
            hardware=Hardware(device="cpu", dtype=torch.float32, threads=1, name="CPU"),
            events=EventLog(None),
            stop=Stop(),
        )

    def test_one_device_halves(self, job: Job):
        assert next_try(job, 8, None).largest_micro_batch == 4

    def test_several_devices_must_be_started_anew(self, job: Job, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(devices, "count", lambda: 2)
        with pytest.raises(
            TrainingFailed, match=r"train on 8 of the longest examples at once\. Take a smaller batch_size"
        ) as several:
            next_try(job, 8, None)
        assert several.value.failed.too_many_at_once == 8
        with pytest.raises(
            TrainingFailed, match=r"even one of the longest examples\. Switch gradient_checkpointing on"
        ) as one:
            next_try(job, 1, None)
        assert one.value.failed.too_many_at_once is None
