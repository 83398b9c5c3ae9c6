import pytest

from trainer import hyperparameters
from trainer.contract import Hyperparameters, TrainingSpec
from trainer.hyperparameters import Adapter, BaseModel, Number

LLAMA_8B = BaseModel(family="llama", hidden_size=4096, longest_context=131_072)
QWEN_7B = BaseModel(family="qwen2", hidden_size=3584, longest_context=32_768)
TINY = BaseModel(family="qwen2", hidden_size=192, longest_context=1_024)


def resolve(
    base: BaseModel = LLAMA_8B, examples: int = 500, continued: Adapter | None = None, **spec
) -> Hyperparameters:
    return hyperparameters.resolve(
        TrainingSpec(job_id="ftjob-1", base_model="base", **spec),
        base,
        examples=examples,
        context=hyperparameters.context_length(base, "cuda"),
        continued=continued,
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

    def test_keeps_its_shape_when_it_is_trained_further(self):
        chosen = resolve(TINY, continued=Adapter(8, 8))
        assert (chosen.lora_rank, chosen.lora_alpha) == (8, 8)


class TestContextLength:
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

    def test_every_number_has_a_reason(self):
        chosen = resolve()
        assert set(chosen.reasons) == set(chosen.__struct_fields__) - {"reasons"}
        assert all(chosen.reasons.values())
