"""A whole job on a base model whose template forgets thoughts: each answer in a sequence of its own."""

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.trainer.jobs import chat, write_job
from tests.trainer.runs import only, result, run
from trainer.contract import Message, Started, Succeeded

pytestmark = pytest.mark.train

TURNS = [chat(f"the sky? {at}", "blue", "and grass?", "green") for at in range(12)]


@pytest.fixture
def job(tmp_path: Path, nano_model: Path, make_tokenizer: Any) -> Path:
    base = tmp_path / "base"
    shutil.copytree(nano_model, base)
    make_tokenizer("thinking").save_pretrained(base)
    return write_job(tmp_path / "job", base, TURNS, batch_size=24, n_epochs=2)


class TestExpansion:
    def test_trains_and_says_it_once_with_numbers(self, job: Path):
        assert run(job) == 0
        (started,) = only(job, Started)
        training = started.training
        assert (training.examples, training.expanded, training.skipped) == (12, 12, 0)
        assert started.trained_tokens == 2 * training.tokens
        said = [event.message for event in only(job, Message) if "writes an answer differently" in event.message]
        assert len(said) == 1
        assert "12 of 12 training examples" in said[0]
        assert f"24 sequences with {training.tokens} tokens" in said[0]

    def test_counts_sequences_as_what_a_step_takes(self, job: Path):
        run(job)
        outcome = result(job)
        assert isinstance(outcome, Succeeded)
        assert outcome.steps == 2
