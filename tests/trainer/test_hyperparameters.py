from typing import Any, Literal

import pytest

from trainer import hyperparameters
from trainer.contract import Hyperparameters, TrainingSpec
from trainer.failures import TrainingFailed
from trainer.hyperparameters import Adapter, BaseModel, Machine, Number

LLAMA_8B = BaseModel(family="llama", hidden_size=4096, longest_context=131_072)
QWEN_7B = BaseModel(family="qwen2", hidden_size=3584, longest_context=32_768)
TINY = BaseModel(family="qwen2", hidden_size=192, longest_context=1_024)


H100 = Machine("cuda", 80 * 10**9)


def resolve(
    base: BaseModel = LLAMA_8B,
    examples: int = 500,
    continued: Adapter | None = None,
    machine: Machine = H100,
    **spec: Any,
) -> Hyperparameters:
    return hyperparameters.resolve(
        TrainingSpec(job_id="ftjob-1", base_model="base", **spec),
        base,
        examples=examples,
        context=hyperparameters.context_length(base, "cuda"),
        continued=continued,
        machine=machine,
    )


class TestEpochs:
    @pytest.mark.parametrize(("examples", "epochs"), [(10, 10), (33, 3), (34, 3), (500, 3), (10_000, 2), (60_000, 1)])
    def test_follow_openais_rule(self, examples: int, epochs: int):
        assert resolve(examples=examples).n_epochs == epochs

    @pytest.mark.parametrize(("examples", "epochs"), [(10, 25), (300, 8), (5_000, 1)])
    def test_of_a_tiny_model_make_about_three_hundred_steps(self, examples: int, epochs: int):
        assert resolve(TINY, examples).n_epochs == epochs


class TestBatchSize:
    @pytest.mark.parametrize(("examples", "batch"), [(10, 4), (3_000, 6), (100_000, 32)])
    def test_is_a_share_of_the_examples_within_bounds(self, examples: int, batch: int):
        assert resolve(examples=examples).batch_size == batch

    def test_of_a_tiny_model_is_eight(self):
        assert resolve(TINY).batch_size == 8


class TestLearningRate:
    @pytest.mark.parametrize(("base", "rate"), [(LLAMA_8B, 2.86e-4), (QWEN_7B, 4.78e-4), (TINY, 3e-3)])
    def test_depends_on_the_model(self, base: BaseModel, rate: float):
        assert resolve(base).learning_rate == pytest.approx(rate, rel=0.01)

    def test_of_an_unmeasured_family_is_the_careful_one(self):
        unknown = BaseModel(family="gemma3", hidden_size=4096, longest_context=8_192)
        assert resolve(unknown).learning_rate == resolve(LLAMA_8B).learning_rate

    def test_is_scaled_by_the_multiplier(self):
        chosen = resolve(TINY, learning_rate_multiplier=0.5)
        assert chosen.learning_rate == pytest.approx(1.5e-3)
        assert "0.5" in chosen.reasons["learning_rate"]


class TestAdapter:
    @pytest.mark.parametrize(("base", "shape"), [(LLAMA_8B, (16, 32)), (TINY, (32, 64))])
    def test_has_a_rank_that_vllm_serves(self, base: BaseModel, shape: tuple[int, int]):
        chosen = resolve(base)
        assert (chosen.lora_rank, chosen.lora_alpha) == shape

    def test_is_what_the_job_gives(self):
        assert (resolve(lora_rank=4).lora_rank, resolve(lora_rank=4).lora_alpha) == (4, 8)
        assert (resolve(lora_alpha=4).lora_rank, resolve(lora_alpha=4).lora_alpha) == (16, 4)

    def test_keeps_its_shape_when_it_is_trained_further(self):
        chosen = resolve(TINY, continued=Adapter(8, 8))
        assert (chosen.lora_rank, chosen.lora_alpha) == (8, 8)


class TestContextLength:
    def test_is_what_the_job_gives(self):
        spec = TrainingSpec(job_id="ftjob-1", base_model="base", context_length=512)
        assert hyperparameters.context_length(TINY, "cpu", spec).value == 512

    @pytest.mark.parametrize(("device", "tokens"), [("cuda", 8_192), ("mps", 4_096), ("cpu", 4_096)])
    def test_is_capped_for_the_device(self, device: str, tokens: int):
        assert hyperparameters.context_length(LLAMA_8B, device).value == tokens

    def test_is_the_models_own_where_that_is_less(self):
        assert hyperparameters.context_length(TINY, "cpu") == Number(1_024, "the base model reads at most 1024 tokens")


class TestResolve:
    def test_what_the_job_gives_wins(self):
        chosen = resolve(n_epochs=7, batch_size=3, learning_rate_multiplier=2.0)
        assert (chosen.n_epochs, chosen.batch_size, chosen.learning_rate_multiplier) == (7, 3, 2.0)
        assert chosen.reasons["n_epochs"] == "given with the job"

    @pytest.mark.parametrize(
        ("spec", "without"),
        [({}, {"beta"}), ({"method": "dpo"}, set()), ({"training_type": "full"}, {"beta", "lora_rank", "lora_alpha"})],
    )
    def test_every_number_has_a_reason(self, spec: dict[str, Any], without: set[str]):
        """Except those that do not exist; `micro_batch` gets its own once the lengths of the examples are known."""
        chosen = resolve(**spec)
        assert set(chosen.reasons) == set(chosen.__struct_fields__) - {"reasons", "micro_batch"} - without
        assert all(chosen.reasons.values())


class TestTrainingType:
    SEVEN_BILLION = BaseModel(family="qwen2", hidden_size=3584, longest_context=32_768, parameters=7_600_000_000)

    @pytest.mark.parametrize(
        ("device", "gigabytes", "kind"),
        [("cuda", 24, "lora"), ("cuda", 16, "qlora"), ("cpu", 16, "lora"), ("mps", 16, "lora")],
    )
    def test_is_an_adapter_on_what_fits(self, device: Literal["cpu", "cuda", "mps"], gigabytes: int, kind: str):
        chosen = resolve(self.SEVEN_BILLION, machine=Machine(device, gigabytes * 10**9))
        assert chosen.training_type == kind
        assert ("16 GB" in chosen.reasons["training_type"]) == (kind == "qlora")

    def test_full_has_no_adapter_and_a_tenth_of_the_learning_rate(self):
        full = resolve(training_type="full")
        assert (full.lora_rank, full.lora_alpha) == (None, None)
        assert full.learning_rate == pytest.approx(resolve().learning_rate / 10)


class TestPreferences:
    def test_are_read_once_and_carefully(self):
        chosen = resolve(method="dpo", examples=51)
        assert (chosen.n_epochs, chosen.beta, chosen.learning_rate) == (1, 0.1, 5e-6)
        assert resolve(method="dpo", training_type="full", beta=0.3).learning_rate == 5e-7
        assert resolve(method="dpo", beta=0.3).beta == 0.3

    @pytest.mark.parametrize(("examples", "epochs"), [(10, 10), (50, 2), (51, 1), (100_000, 1)])
    def test_are_read_more_often_where_there_are_few(self, examples: int, epochs: int):
        assert resolve(method="dpo", examples=examples).n_epochs == epochs

    @pytest.mark.parametrize(("examples", "epochs"), [(80, 5), (10, 25), (1000, 1)])
    def test_of_a_tiny_model_take_about_fifty_steps(self, examples: int, epochs: int):
        assert resolve(TINY, method="dpo", examples=examples).n_epochs == epochs

    def test_of_a_tiny_model_have_rates_that_were_measured(self):
        rates = [resolve(TINY, method="dpo", training_type=kind).learning_rate for kind in ("lora", "qlora", "full")]
        assert rates == [1e-4, 1e-4, 2e-5]


class TestGradientCheckpointing:
    def test_is_for_large_models(self):
        assert resolve(TestTrainingType.SEVEN_BILLION).gradient_checkpointing
        assert not resolve(TINY).gradient_checkpointing
        assert resolve(TINY, gradient_checkpointing=True).gradient_checkpointing


class TestWhatExcludesEachOther:
    @pytest.mark.parametrize(
        ("field", "spec"),
        [
            ("lora_rank", {"training_type": "full", "lora_rank": 8}),
            ("lora_alpha", {"training_type": "full", "lora_alpha": 8}),
            ("lora_rank", {"continued": Adapter(8, 16), "lora_rank": 16}),
            ("lora_alpha", {"continued": Adapter(8, 16), "lora_alpha": 8}),
            ("beta", {"beta": 0.1}),
            ("packing", {"method": "dpo", "packing": True}),
        ],
    )
    def test_is_refused_with_its_name(self, field: str, spec: dict[str, Any]):
        with pytest.raises(TrainingFailed, match=f"^{field} cannot be used as given: .*[.] [A-Z].*[.]$") as refusal:
            resolve(**spec)
        assert refusal.value.failed.code == "invalid_hyperparameters"

    def test_a_context_that_the_model_does_not_read(self):
        spec = TrainingSpec(job_id="ftjob-1", base_model="base", context_length=2_048)
        with pytest.raises(TrainingFailed, match="at most 1024 tokens"):
            hyperparameters.context_length(TINY, "cpu", spec)
