"""What the engine reads for a conversation, over its socket, is what training wrote before each answer: for every
family of templates and every golden conversation."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from tests.trainer.engine.wire import RunningEngine
from tests.trainer.golden.answers import asked_before, is_refused
from tests.trainer.golden.families import CONVERSATIONS, FAMILIES, make_tokenizer
from trainer.labels import ChatLabels

pytestmark = pytest.mark.train

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "max_position_embeddings": 2048,
}

CASES = [(family, name) for family in FAMILIES for name in CONVERSATIONS if not is_refused(family, name)]


@pytest.fixture(scope="module")
def engine_of(
    tmp_path_factory: pytest.TempPathFactory, start_engine: Callable[..., RunningEngine]
) -> Callable[[str], tuple[RunningEngine, Any]]:
    """Family -> an engine that serves a model with its template, and its tokenizer."""

    @cache
    def start(family: str) -> tuple[RunningEngine, Any]:
        path: Path = tmp_path_factory.mktemp(family)
        tokenizer = make_tokenizer(family)
        tokenizer.save_pretrained(path)
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZES)).save_pretrained(path)
        return start_engine(model=path), tokenizer

    return start


@pytest.mark.parametrize(("family", "name"), CASES)
def test_the_engine_reads_what_training_wrote_before_each_answer(
    engine_of: Callable[[str], tuple[RunningEngine, Any]], family: str, name: str
):
    engine, tokenizer = engine_of(family)
    for call, ids in asked_before(ChatLabels(tokenizer), name):
        reply = httpx.post(f"{engine.url}/tokenize", json=call)
        assert reply.status_code == 200, reply.text
        assert tokenizer.convert_ids_to_tokens(reply.json()["tokens"]) == tokenizer.convert_ids_to_tokens(ids)
