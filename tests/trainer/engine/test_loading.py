import json
import shutil

import pytest
import torch
from transformers import GenerationConfig, Mamba2Config, Mamba2ForCausalLM

from tests.trainer.engine.wire import CONTEXT
from trainer.engine.loading import SMALL, load, pick_device, pick_threads, sampling_defaults_of

pytestmark = pytest.mark.train


class TestLoad:
    def test_what_the_directory_says(self, nano_model):
        loaded = load(str(nano_model), device="cpu")
        assert loaded.max_model_len == CONTEXT
        assert loaded.model.dtype == torch.float32
        assert loaded.vocab_size == loaded.model.config.vocab_size
        assert loaded.sampling_defaults == {}
        assert loaded.vocabulary.stop_ids == {loaded.model.config.eos_token_id}

    def test_generation_config_gives_defaults_and_stop_ids(self, nano_model, tmp_path):
        copy = shutil.copytree(nano_model, tmp_path / "copy")
        settings = {"do_sample": True, "temperature": 0.7, "top_k": 20, "eos_token_id": [0, 2]}
        (copy / "generation_config.json").write_text(json.dumps(settings))
        loaded = load(str(copy), device="cpu")
        assert loaded.sampling_defaults == {"temperature": 0.7, "top_k": 20}
        assert loaded.vocabulary.stop_ids == {0, 2}

    def test_a_shorter_context_may_be_asked_for_and_a_longer_one_not(self, nano_model):
        assert load(str(nano_model), device="cpu", max_model_len=64).max_model_len == 64
        with pytest.raises(ValueError, match=f"limit of {CONTEXT} tokens"):
            load(str(nano_model), device="cpu", max_model_len=CONTEXT + 1)

    def test_a_directory_without_a_model(self, tmp_path):
        with pytest.raises(ValueError, match="Unrecognized model"):
            load(str(tmp_path), device="cpu")

    def test_a_model_without_keys_and_values_is_refused(self, nano_model, tmp_path):
        copy = shutil.copytree(nano_model, tmp_path / "copy")
        config = Mamba2Config(
            vocab_size=64, hidden_size=32, num_hidden_layers=1, num_heads=4, head_dim=16, state_size=8, n_groups=1
        )
        Mamba2ForCausalLM(config).save_pretrained(copy)
        with pytest.raises(ValueError, match="Serve it with vLLM"):
            load(str(copy), device="cpu")


class TestPickDevice:
    def test_one_that_is_not_there(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ValueError, match="there is no device cuda here"):
            pick_device("cuda")

    def test_the_best_there_is(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert pick_device("auto").type == "cuda"


class TestPickThreads:
    def test_small_models_take_one(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        cpu = torch.device("cpu")
        assert pick_threads(torch.nn.Linear(8, 8), cpu) == 1
        assert pick_threads(torch.nn.Linear(1, SMALL, device="meta"), cpu) is None

    def test_the_environment_decides_where_it_says_so(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert pick_threads(torch.nn.Linear(8, 8), torch.device("cpu")) is None


class TestSamplingDefaults:
    def test_only_what_is_set(self):
        assert sampling_defaults_of(None) == {}
        assert sampling_defaults_of(GenerationConfig(do_sample=True, top_p=0.8)) == {"top_p": 0.8}
