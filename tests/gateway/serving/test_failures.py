"""Real sentences of vLLM 0.32, PyTorch and the embedded engine, and what they are called."""

from pathlib import Path

import pytest

from gateway.errors import ErrorObject, ModelLoading, Refusal, UpstreamFailed, UpstreamRefused, UpstreamTimeout
from gateway.serving.failures import Problem, problem_of
from gateway.upstreams.engine import NO_UPDATES

NAME = "ft:base:tuneway::one"
EXPECTED = [
    ("LoRA rank 64 is greater than max_lora_rank 16.", "rank_too_large", "--max-lora-rank 64"),
    ("LoRA rank 20 is greater than max_lora_rank 16.", "rank_too_large", "max_lora_rank = 32"),
    (
        f"Loading lora {NAME} failed: LoRA rank 600 is greater than the highest supported rank, 512",
        "rank_too_large",
        "512",
    ),
    (
        "The size of tensor a (64) must match the size of tensor b (128) at non-singleton dimension 1",
        "wrong_base",
        "another base",
    ),
    (
        "Loading lora x failed: base_model.model.model.layers.0.q_proj.lora_A.weight has shape [8, 64], this model needs"
        " [8, 128]",
        "wrong_base",
        "train it again",
    ),
    (
        "The embedding LoRA size(512) must be consistent with the base model's vocabulary size(1024).",
        "wrong_base",
        "another base",
    ),
    (
        "While loading /adapters/x, expected target modules in {'q_proj'} but received ['model.layers.0.odd']. Please verify"
        " that the loaded LoRA module is correct",
        "unsupported_modules",
        "merge",
    ),
    (
        'vLLM only supports modules_to_save being either None or ["classifier", "score"] for classification models.'
        " Unsupported modules_to_save: ['lm_head']",
        "unsupported_modules",
        "export?format=merged",
    ),
    ("vLLM does not yet support DoRA.", "unsupported_modules", "merge"),
    ("vLLM does not support LoRA bias (lora_bias).", "unsupported_modules", "merge"),
    ("vLLM does not support init_lora_weights='pissa'.", "unsupported_modules", "merge"),
    ("Adapter bias is not supported.", "unsupported_modules", "merge"),
    ("base_model.model.x.weight is unsupported LoRA weight", "unsupported_modules", "merge"),
    ("Loading lora x failed: use_dora=True is not supported", "unsupported_modules", "merge"),
    (
        "Loading lora x failed: a.b.lora_A.weight belongs to no linear layer of this model",
        "unsupported_modules",
        "merge",
    ),
    ("No free lora slots", "no_room", "Unload"),
    ("CUDA out of memory. Tried to allocate 20.00 MiB.", "no_room", "Unload"),
    ("Loading x failed: this engine serves at most 4 models (--max-models).", "no_room", "Unload"),
    ("Loading lora x failed: No adapter found for /adapters/x", "path_gone", "data_dir"),
    ("Something nobody has seen", "other", "nobody has seen"),
]


def refused(sentence: str, status: int = 400) -> UpstreamRefused:
    return UpstreamRefused(status, ErrorObject(message=sentence, type="InvalidUserInput"))


def problem(refusal: Refusal, path: Path, kind: str = "adapter") -> Problem:
    return problem_of(refusal, kind=kind, path=path, engine_path=Path("/mnt/adapters/x"))


class TestProblemOf:
    @pytest.mark.parametrize(("sentence", "code", "way_out"), EXPECTED)
    def test_names_the_failure_and_the_way_out(self, tmp_path: Path, sentence: str, code: str, way_out: str) -> None:
        """vLLM answers 500 when an adapter does not fit, the embedded engine 400 at times."""
        for refusal in (
            refused(sentence),
            UpstreamFailed(f"The upstream `engine` answered 500: {sentence}", answered=500),
        ):
            found = problem(refusal, tmp_path)
            assert (found.code, found.is_lasting) == (code, True)
            assert sentence.rstrip(".") in found.sentence
            assert way_out in found.sentence

    @pytest.mark.parametrize(
        "refusal",
        [
            UpstreamFailed("The upstream `engine` cannot be reached.", code="upstream_unreachable", reached=False),
            UpstreamTimeout("The engine did not answer within 120 s."),
            ModelLoading("The engine is shutting down."),
        ],
    )
    def test_replica_that_is_away_may_take_it_later(self, tmp_path: Path, refusal: Refusal) -> None:
        found = problem(refusal, tmp_path)
        assert (found.code, found.is_lasting) == ("replica_down", False)

    def test_files_that_are_gone_here_are_said_first(self, tmp_path: Path) -> None:
        found = problem(refused("Loading lora x failed: No adapter found for /adapters/x", 404), tmp_path / "gone")
        assert (found.code, found.sentence) == (
            "path_gone",
            "Its files are gone: restore them from a backup, or delete the model.",
        )

    def test_files_that_only_the_engine_does_not_see_name_both_paths(self, tmp_path: Path) -> None:
        found = problem(refused("Loading lora x failed: No adapter found for /mnt/adapters/x", 404), tmp_path)
        assert str(tmp_path) in found.sentence
        assert "/mnt/adapters/x" in found.sentence

    def test_engine_that_loads_nothing_at_run_time(self, tmp_path: Path) -> None:
        found = problem(UpstreamRefused(404, NO_UPDATES), tmp_path)
        assert (found.code, "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in found.sentence) == ("not_supported", True)

    def test_weights_of_their_own_on_vllm(self, tmp_path: Path) -> None:
        found = problem(refused("Loading lora x failed: No adapter found for /x", 404), tmp_path, "full")
        assert found.code == "not_supported"
        full = problem(
            refused("Loading x failed: this engine serves at most 4 models (--max-models)."), tmp_path, "full"
        )
        assert full.code == "no_room"
