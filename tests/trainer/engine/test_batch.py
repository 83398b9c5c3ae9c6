"""Rows that decode together must write what each would write alone."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, Lfm2Config, Lfm2ForCausalLM

from trainer.engine import batch as batch_module
from trainer.engine import prefill as prefill_module
from trainer.engine.batch import Batch, Singles, prompt_cache, rows_for
from trainer.engine.choice import Generation
from trainer.engine.prefill import Prefill
from trainer.engine.sampling import Options

pytestmark = pytest.mark.train


class Row:
    """As much of a choice as a batch looks at."""

    def __init__(self, token: int) -> None:
        self.last_token = token
        self.tokens = [token]


@pytest.fixture(scope="module")
def model(nano_model):
    """Never ends an answer: these tests look at a given number of tokens."""
    nano = AutoModelForCausalLM.from_pretrained(nano_model).eval()
    nano.generation_config.eos_token_id = None
    return nano


@pytest.fixture(scope="module")
def sliding_model():
    torch.manual_seed(3)
    config = Gemma3TextConfig(
        vocab_size=200,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=24,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    gemma = Gemma3ForCausalLM(config).eval()
    gemma.generation_config.eos_token_id = None
    return gemma


def alone(model, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    settings = {"do_sample": False, "max_new_tokens": count, "pad_token_id": 0}
    return model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :].tolist()


def prompts_of(lengths: list[int], seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(10, 190) for _ in range(length)] for length in lengths]


def read(model, prompt: list[int]):
    """(cache, first token) of a prompt."""
    generation = Generation(prompt, None, Options(max_tokens=1), lambda _: None)
    reading = Prefill(generation, model.config)
    logits = None
    with torch.inference_mode():
        while logits is None:
            logits = reading.step(model)
    return reading.cache, int(logits.argmax())


def step(rows, model) -> None:
    for row, token in zip(rows.choices, rows.step(model).argmax(-1).tolist(), strict=True):
        row.last_token = token
        row.tokens.append(token)


def together(model, prompts: list[list[int]], count: int, gap: int) -> list[list[int]]:
    """Answers of `count` tokens; a new prompt joins every `gap` steps, and each leaves when it is done."""
    rows = rows_for(model.config)
    waiting, everyone = list(prompts), []
    turn = 0
    while waiting or rows.choices:
        if waiting and turn % gap == 0:
            cache, token = read(model, waiting.pop(0))
            row = Row(token)
            everyone.append(row)
            rows.join(cache, [row])
        if rows.choices:
            step(rows, model)
        for row in [row for row in rows.choices if len(row.tokens) == count]:
            rows.leave(row)
        turn += 1
    return [row.tokens for row in everyone]


class TestBatch:
    @pytest.mark.parametrize("lengths", [[12], [9, 9, 9], [3, 40, 17, 1, 90, 25]], ids=["one", "equal", "mixed"])
    def test_writes_what_generate_writes(self, model, lengths):
        prompts = prompts_of(lengths)
        assert together(model, prompts, 24, gap=1) == [alone(model, prompt, 24) for prompt in prompts]

    @pytest.mark.parametrize("gap", [3, 7, 30])
    def test_rows_come_and_go_at_any_time(self, model, gap):
        prompts = prompts_of([5, 60, 2, 33, 100, 8, 71], seed=gap)
        assert together(model, prompts, 40, gap=gap) == [alone(model, prompt, 40) for prompt in prompts]

    def test_sliding_windows(self, sliding_model):
        prompts = prompts_of([3, 30, 11, 20], seed=5)
        assert isinstance(rows_for(sliding_model.config), Batch)
        assert together(sliding_model, prompts, 20, gap=2) == [alone(sliding_model, p, 20) for p in prompts]

    def test_one_row_alone_has_the_same_logits_as_an_unpadded_model(self, model):
        prompt = prompts_of([20])[0]
        cache, token = read(model, prompt)
        batch = Batch(len(cache.layers))
        batch.join(cache, [Row(token)])
        with torch.inference_mode():
            expected = model(torch.tensor([[*prompt, token]])).logits[:, -1]
            torch.testing.assert_close(batch.step(model), expected, rtol=1e-4, atol=1e-4)

    def test_choices_of_one_prompt_share_its_reading(self, model):
        prompt = prompts_of([15])[0]
        cache, token = read(model, prompt)
        rows = Batch(len(cache.layers))
        twins = [Row(token), Row(token)]
        rows.join(cache, twins)
        for _ in range(10):
            step(rows, model)
        assert twins[0].tokens == twins[1].tokens == alone(model, prompt, 11)


class TestSingles:
    def test_layers_with_convolutions(self):
        torch.manual_seed(4)
        config = Lfm2Config(
            vocab_size=200,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            layer_types=["conv", "full_attention"] * 2,
            max_position_embeddings=256,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
        )
        hybrid = Lfm2ForCausalLM(config).eval()
        hybrid.generation_config.eos_token_id = None
        assert isinstance(rows_for(config), Singles)
        prompts = prompts_of([5, 30, 12])
        assert together(hybrid, prompts, 12, gap=2) == [alone(hybrid, prompt, 12) for prompt in prompts]

    def test_writes_what_generate_writes(self, model, monkeypatch):
        monkeypatch.setattr(batch_module, "MERGEABLE", ())
        prompts = prompts_of([5, 30, 12])
        assert together(model, prompts, 16, gap=2) == [alone(model, prompt, 16) for prompt in prompts]


class TestPrefill:
    def test_pieces_give_what_one_reading_gives(self, model, monkeypatch):
        monkeypatch.setitem(prefill_module.TOKENS_AT_ONCE, "cpu", 7)
        prompts = prompts_of([50, 7, 8])
        assert together(model, prompts, 12, gap=1) == [alone(model, prompt, 12) for prompt in prompts]

    def test_cache_layers_are_full_even_under_sliding_windows(self, sliding_model):
        cache = prompt_cache(sliding_model.config)
        assert not any(cache.is_sliding)
