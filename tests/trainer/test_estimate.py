import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.trainer.shapes import LLAMA_8B, write_model
from trainer.contract import EstimateCall, EstimateOption, HardwareDescription, Speed, TrainingSpec, decode_estimate
from trainer.estimate import START_SECONDS, estimate

CARD = HardwareDescription(
    device="cuda", name="card", devices=1, memory_bytes=24_000_000_000, dtype="bfloat16", flops_per_second=100e12
)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write_model(tmp_path / "llama", **LLAMA_8B)


def call(base: Path, *, spec: dict[str, Any] | None = None, **fields: Any) -> EstimateCall:
    given = {"spec": TrainingSpec(job_id="j", base_model=str(base), **(spec or {})), "hardware": CARD, **fields}
    return EstimateCall(**{"examples": 1000, "tokens": 200_000, "longest": 1000, **given})


def options(asked: EstimateCall) -> dict[str, EstimateOption]:
    return {option.training_type: option for option in estimate(asked).options}


class TestEstimate:
    def test_counts_steps_and_tokens(self, llama: Path):
        told = estimate(call(llama, spec={"n_epochs": 2, "batch_size": 16}))
        assert (told.steps, told.trained_tokens) == (63 * 2, 400_000)

    def test_cuts_tokens_at_the_context(self, llama: Path):
        told = estimate(call(llama, spec={"n_epochs": 1}, examples=10, tokens=10_000_000, longest=1_000_000))
        assert told.tokens == 10 * told.hyperparameters.context_length

    def test_tells_what_fits(self, llama: Path):
        assert {kind: option.fits for kind, option in options(call(llama)).items()} == {
            "lora": True,
            "qlora": True,
            "full": False,
        }

    def test_advises_what_does_not_fit(self, llama: Path):
        told = options(call(llama))["full"]
        assert told.advice
        assert "needs about 12" in told.advice
        assert "lora, or qlora" in told.advice

    def test_recommends_qlora_where_only_that_fits(self, llama: Path):
        small = msgspec.structs.replace(CARD, memory_bytes=12_000_000_000)
        assert estimate(call(llama, hardware=small)).recommended == "qlora"

    def test_halves_the_micro_batch_until_it_fits(self, llama: Path):
        asked = {"spec": {"batch_size": 16}, "longest": 900}
        tight = msgspec.structs.replace(CARD, memory_bytes=22_000_000_000)
        ample = msgspec.structs.replace(CARD, memory_bytes=280_000_000_000)
        assert options(call(llama, hardware=tight, **asked))["lora"].micro_batch < 16
        assert options(call(llama, hardware=ample, **asked))["lora"].micro_batch == 16

    def test_takes_the_measured_speed(self, llama: Path):
        speeds = [Speed(training_type="lora", tokens_per_second=1000.0)]
        told = options(call(llama, spec={"n_epochs": 1}, speeds=speeds))
        assert told["lora"].speed_source == "measured"
        assert told["lora"].seconds == pytest.approx(200 + START_SECONDS)
        assert told["full"].speed_source == "computed"

    def test_costs_what_the_hours_cost(self, llama: Path):
        speeds = [Speed(training_type="lora", tokens_per_second=200_000 / (3600 - START_SECONDS))]
        assert options(call(llama, spec={"n_epochs": 1}, speeds=speeds, usd_per_hour=2.5))["lora"].cost_usd == 2.5
        assert options(call(llama))["lora"].cost_usd is None

    def test_cost_of_tokens_comes_on_top_of_that_of_time(self, llama: Path) -> None:
        speeds = [Speed(training_type="lora", tokens_per_second=100.0)]
        asked = call(llama, spec={"n_epochs": 2}, speeds=speeds, usd_per_million_tokens=10.0)
        trained = estimate(asked).trained_tokens
        of_tokens = options(asked)["lora"].cost_usd
        assert of_tokens == pytest.approx(trained / 100_000)
        both = msgspec.structs.replace(asked, usd_per_hour=2.5)
        time_alone = msgspec.structs.replace(both, usd_per_million_tokens=None)
        assert of_tokens is not None
        of_time = options(time_alone)["lora"].cost_usd
        assert of_time is not None
        assert options(both)["lora"].cost_usd == pytest.approx(of_time + of_tokens)

    def test_dpo_takes_longer(self, llama: Path):
        plain, dpo = (options(call(llama, spec={"n_epochs": 1, "method": one})) for one in ("supervised", "dpo"))
        assert dpo["lora"].seconds > plain["lora"].seconds


class TestBaseModel:
    def test_an_id_in_the_local_cache(self, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        from huggingface_hub import constants

        snapshot = tmp_path / "hub" / "models--meta--llama" / "snapshots" / "0123"
        snapshot.parent.mkdir(parents=True)
        llama.rename(snapshot)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("0123")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        assert estimate(call(Path("meta/llama"))).base_parameters == 8_030_261_248

    def test_that_is_nowhere(self, tmp_path: Path):
        with pytest.raises(OSError, match=r"(?i)cache|snapshot|local"):
            estimate(call(Path("meta/nothing")))


class TestProgram:
    def test_loads_no_ml_library(self, llama: Path):
        """Importing them would take longer than everything else."""
        code = (
            "import runpy, sys\nrunpy.run_module('trainer.estimate', run_name='__main__')\n"
            "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
        )
        asked = msgspec.json.encode(call(llama))
        told = subprocess.run([sys.executable, "-c", code], input=asked, check=True, capture_output=True).stdout
        assert decode_estimate(told) == estimate(call(llama))
        assert json.loads(told)["options"]
