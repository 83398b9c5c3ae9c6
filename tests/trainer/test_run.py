import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from trainer import run as trainer_run
from trainer.contract import Metrics, Succeeded
from trainer.methods import supervised
from trainer.stopping import Stop

pytestmark = pytest.mark.train


class TestRun:
    @pytest.fixture
    def train(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
        """Replaces training by a function that looks around."""

        def install(look: Callable[[], None]) -> None:
            def succeed(_job: Any) -> Succeeded:
                look()
                return Succeeded(output="adapter", trained_tokens=1, steps=1, metrics=Metrics(step=1), seconds=1.0)

            monkeypatch.setattr(supervised, "train", succeed)

        return install

    def test_is_alone_in_its_directory(self, make_job: Callable[..., Path], train):
        job = make_job()

        def try_to_enter() -> None:
            with (job / ".lock").open("wb") as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        train(try_to_enter)
        assert trainer_run.run(job, Stop()) == 0
        assert trainer_run.run(job, Stop()) == 0

    def test_starts_without_what_a_crash_left_behind(self, make_job: Callable[..., Path], train):
        job = make_job()
        for leftover in ("checkpoints/step-3", "adapter", "adapter.tmp"):
            (job / leftover).mkdir(parents=True)
            (job / leftover / "adapter_model.safetensors").touch()

        def look() -> None:
            assert list((job / "checkpoints").iterdir()) == []
            assert not (job / "adapter").exists()
            assert not (job / "adapter.tmp").exists()

        train(look)
        assert trainer_run.run(job, Stop()) == 0
