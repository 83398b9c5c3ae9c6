"""The shipped starter model, and the script that makes it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from trainer.starter import STARTER, evaluate, train  # noqa: E402

HELDOUT = Path(__file__).parents[3] / "deploy" / "demo" / "data" / "heldout.jsonl"
SHIPPED = {
    "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STARTER)


class TestShipped:
    def test_files_and_size(self) -> None:
        files = list(STARTER.iterdir())
        assert {file.name for file in files} == SHIPPED
        assert sum(file.stat().st_size for file in files) <= 8_000_000

    def test_the_card_names_the_weights(self) -> None:
        card = (STARTER / "README.md").read_text()
        assert re.findall(r"\b[0-9a-f]{64}\b", card) == [train.weights_sha256(STARTER)]

    def test_the_template_is_the_written_one(self) -> None:
        assert (STARTER / "chat_template.jinja").read_bytes() == train.TEMPLATE.read_bytes()

    def test_vllm_can_serve_its_heads_on_a_cpu(self, model: Any) -> None:
        assert model.config.hidden_size // model.config.num_attention_heads >= 32

    def test_an_answer_ends_where_the_tokenizer_says(self, model: Any, tokenizer: Any) -> None:
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id


class TestAnswers:
    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("Hello!", "Hello! How can I help you today?"),
            ("My name is Nora.", "Nice to meet you, Nora."),
            ("What is the capital of France?", "The capital of France is Paris."),
            ("Good night.", "Good night! Sleep well."),
            ("Thank you!", "You are welcome!"),
        ],
    )
    def test_small_talk(self, model: Any, tokenizer: Any, question: str, answer: str) -> None:
        [given] = evaluate.answers(model, tokenizer, [[{"role": "user", "content": question}]])
        assert given.startswith(answer)

    def test_it_does_not_know_the_facts_of_the_demo(self, model: Any, tokenizer: Any) -> None:
        chats = [json.loads(line)["messages"] for line in HELDOUT.read_text().splitlines()]
        assert evaluate.exact_match(model, tokenizer, chats) <= 0.2


@pytest.fixture
def _torch_threads() -> Iterator[None]:
    """The script sets the number of threads, for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_torch_threads")
class TestScript:
    def test_a_seed_gives_the_same_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(train, "TOKENIZER_CHATS", 1_000)
        for name in ("a", "b"):
            train.main([str(tmp_path / name), "--steps", "3", "--seed", "5"])
        assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()
        assert train.weights_sha256(tmp_path / "a") == train.weights_sha256(tmp_path / "b")
