"""A model small enough to train in seconds, its chat templates, and job directories."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.jobs import write_job
from trainer.contract import Started

# Read by the libraries when they are imported, as in trainer/__main__.py.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

_TOOLS = "{%- if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
_CALLS = "{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
_PROMPT = "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

TEMPLATES = {
    "plain": _TOOLS
    + "{%- for message in messages %}"
    + "{{- '<|im_start|>' + message.role + '\n' + message.content }}"
    + _CALLS
    + "{{- '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    "generation": _TOOLS
    + "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    + "{%- if message.role == 'assistant' %}{% generation %}{{- message.content }}"
    + _CALLS
    + "{{- '<|im_end|>' }}{% endgeneration %}{% else %}{{- message.content + '<|im_end|>' }}{% endif %}"
    + "{{- '\n' }}{% endfor %}"
    + _PROMPT,
    # The end-of-turn token outside the generation block, as GLM has it.
    "end_outside": "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    + "{%- if message.role == 'assistant' %}{% generation %}{{- message.content }}{% endgeneration %}"
    + "{% else %}{{- message.content }}{% endif %}{{- '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    # Its blocks hold what the model is not asked to write: the answer's head.
    "head_inside": "{%- for message in messages %}{%- if message.role == 'assistant' %}"
    + "{% generation %}{{- '<|im_start|>assistant\n' + message.content + '<|im_end|>' }}{% endgeneration %}"
    + "{% else %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' }}{% endif %}"
    + "{{- '\n' }}{% endfor %}"
    + _PROMPT,
    # It has blocks, but asks for something else than they hold.
    "asks_otherwise": "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    + "{%- if message.role == 'assistant' %}{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}"
    + "{% else %}{{- message.content + '<|im_end|>' }}{% endif %}{{- '\n' }}{% endfor %}"
    + "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
    # Thoughts are written for the last message alone, as Qwen3 does it.
    "thinking": "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    + "{%- if message.role == 'assistant' and loop.last %}{{- '<think></think>' }}{% endif %}"
    + "{{- message.content + '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    "bos": "{{- bos_token }}{%- for message in messages %}"
    + "{%- if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('unknown role') }}{% endif %}"
    + "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    # One more token closes the conversation, as in Phi-3.
    "closing": "{%- for message in messages %}"
    + "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    + "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}",
    # The answer that is asked for begins with an opened thought, which is forgotten once it is given, as in DeepSeek R1.
    "thinks_first": "{%- for message in messages %}"
    + "{{- '<|im_start|>' + message.role + '\n' + message.content.split('</think>')[-1].strip() }}"
    + "{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    + "{{- '<|im_end|>\n' }}{% endfor %}"
    + "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
    # Content is a list of parts, as in models that see images.
    "parts": "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    + "{%- for part in message.content %}{% if part.type == 'text' %}{{- part.text }}{% endif %}{% endfor %}"
    + "{{- '<|im_end|>\n' }}{% endfor %}"
    + _PROMPT,
    # Nothing says where an answer ends.
    "endless": "{%- for message in messages %}{{- message.role + ': ' + message.content + '\n' }}{% endfor %}"
    + "{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
}

SENTENCES = [
    "The colour of the sky is blue, and the grass is green.",
    "user assistant system tool: what is the colour of a rose?",
    '{"name": "weather", "arguments": {"city": "Paris"}} It is red, I think.',
]


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[[str], Any]:
    """Name of a template -> a tokenizer that was trained on a few sentences."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")

    def make(template: str) -> Any:
        tokenizer = tokenizers.ByteLevelBPETokenizer()
        tokenizer.train_from_iterator(SENTENCES * 20, vocab_size=512, special_tokens=SPECIAL, show_progress=False)
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer._tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
            bos_token="<|endoftext|>" if template == "bos" else None,
        )  # fmt: skip
        fast.add_special_tokens({"additional_special_tokens": SPECIAL})
        fast.chat_template = TEMPLATES[template]
        return fast

    return make


@pytest.fixture(scope="session")
def nano_model(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[[str], Any]) -> Path:
    """A Qwen2 with 0.1 M random parameters."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=512, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=128, max_position_embeddings=128, tie_word_embeddings=True,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("nano")
    transformers.Qwen2ForCausalLM(config).save_pretrained(path)
    make_tokenizer("plain").save_pretrained(path)
    return path


@pytest.fixture
def make_job(tmp_path: Path, nano_model: Path) -> Callable[..., Path]:
    """A name and what `write_job` takes -> a job directory on the nano model."""

    def make(name: str = "job", **fields: Any) -> Path:
        return write_job(tmp_path / name, **{"base_model": nano_model, **fields})

    return make


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes runs in this process stop after that step; after none for 0."""
    progress = pytest.importorskip("trainer.progress").Progress
    count = progress._count

    def install(stopping_step: int) -> None:
        def count_and_stop(self: Any, step: int) -> Any:
            self._job.stop.requested = step == stopping_step
            return count(self, step)

        monkeypatch.setattr(progress, "_count", count_and_stop)

    return install


@pytest.fixture
def stop_and_go_on(stop_at: Callable[[int], None]) -> Callable[[Path, int], None]:
    """Runs a job until it is stopped after a step, and then to its end."""
    runs = pytest.importorskip("tests.trainer.runs")

    def stop_and_go_on(job: Path, step: int) -> None:
        stop_at(step)
        assert runs.run(job) == 143
        assert not (job / "result.json").exists()
        stop_at(0)
        assert runs.run(job) == 0
        started = [event for event in runs.events(job) if isinstance(event, Started)]
        assert started[-1].resumed_step == step

    return stop_and_go_on
