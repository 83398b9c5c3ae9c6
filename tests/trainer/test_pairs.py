from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.trainer.jobs import COLOUR_PAIRS, chat, pair, write_jsonl
from trainer.data import read_examples
from trainer.labels import IGNORED, ChatLabels
from trainer.pairs import PairPadding, Pairs, rows, to_dataset, tokenize
from trainer.preferences import read_preferences

pytestmark = pytest.mark.train

Read = Callable[..., Pairs]


@pytest.fixture
def labels(make_tokenizer: Callable[[str], Any]) -> ChatLabels:
    return ChatLabels(make_tokenizer("plain"))


@pytest.fixture
def read(tmp_path: Path, labels: ChatLabels) -> Read:
    def read_all(*lines: Any, context: int = 128) -> Pairs:
        path = write_jsonl(tmp_path / "training.jsonl", list(lines))
        return tokenize(labels, read_preferences(path, "training_file"), context, "training_file")

    return read_all


def references(pairs: Pairs) -> np.ndarray[Any, Any]:
    """Pair i has i and -i."""
    return np.array([[index, -index] for index in range(len(pairs.rows))], dtype=np.float32)


class TestTokens:
    def test_are_those_of_supervised_training(self, read: Read, labels: ChatLabels, tmp_path: Path):
        (one,) = read(pair("the sky?", "It is blue.", "red")).rows
        path = write_jsonl(tmp_path / "chats.jsonl", [chat("the sky?", "It is blue."), chat("the sky?", "red")])
        chats = labels.label(read_examples(path, "training_file"), 128, "training_file")
        for ids, labels_, index in (
            (one.preferred_ids, one.preferred_labels, 0),
            (one.rejected_ids, one.rejected_labels, 1),
        ):
            assert ids.tolist() == chats.input_ids[index].tolist()
            assert labels_.tolist() == chats.labels[index].tolist()

    def test_only_the_answer_carries_loss(self, read: Read, labels: ChatLabels, make_tokenizer):
        turns = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]
        (one,) = read({**pair("", "It is blue.", "red"), "input": {"messages": turns}}).rows
        learned = one.preferred_labels[one.preferred_labels != IGNORED]
        assert make_tokenizer("plain").decode(learned) == "It is blue.<|im_end|>"


class TestCut:
    def test_both_answers_end_at_the_context(self, read: Read):
        pairs = read(pair("hello", "It is red. " * 30, "It is blue. " * 30), context=40)
        (one,) = pairs.rows
        assert len(one.preferred_ids) == len(one.rejected_ids) == 40
        assert (pairs.truncated, pairs.lost) == (1, 0)

    def test_a_shorter_answer_stays_whole(self, read: Read):
        pairs = read(pair("hello", "It is red. " * 30, "red"), context=40)
        (one,) = pairs.rows
        assert len(one.rejected_ids) < len(one.preferred_ids) == 40
        assert pairs.truncated == 1

    def test_answers_that_become_the_same_are_left_out(self, read: Read):
        pairs = read(pair("hello", "red " * 100 + "yes", "red " * 100 + "no"), *COLOUR_PAIRS, context=60)
        assert (len(pairs.rows), pairs.examples, pairs.lost, pairs.identical) == (12, 13, 1, 0)

    def test_answers_that_are_cut_away_are_left_out(self, read: Read):
        pairs = read(pair("red " * 100, "yes", "no"), *COLOUR_PAIRS, context=60)
        assert (len(pairs.rows), pairs.lost, pairs.truncated) == (12, 1, 1)

    def test_the_same_answer_twice_is_left_out(self, read: Read):
        pairs = read(pair("hello", "yes", "yes"), *COLOUR_PAIRS)
        assert (len(pairs.rows), pairs.identical, pairs.lost) == (12, 1, 0)


class TestSummary:
    def test_counts_both_sequences_of_every_pair(self, read: Read):
        pairs = read(pair("hello", "yes", "no way"), pair("hello", "yes", "yes"))
        summary, (one,) = pairs.summary(), pairs.rows
        assert summary.tokens == len(one.preferred_ids) + len(one.rejected_ids)
        assert summary.label_tokens == sum(
            (one.preferred_labels != -100).tolist() + (one.rejected_labels != -100).tolist()
        )
        assert (summary.examples, summary.skipped, summary.truncated) == (2, 1, 0)

    def test_the_longest_counts_its_padding(self, read: Read):
        pairs = read(pair("hello", "yes", "no, it is red and blue"), pair("hello", "yes", "no"))
        assert pairs.longest == 2 * len(pairs.rows[0].rejected_ids)
        assert pairs.lengths == [len(pairs.rows[0].rejected_ids), len(pairs.rows[1].preferred_ids)]


class TestPairPadding:
    def test_preferred_rows_come_first(self, read: Read):
        pairs = read(*COLOUR_PAIRS[:3])
        batch = PairPadding(7)(rows(pairs))
        width = max(pairs.lengths)
        assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape == (6, width)
        for row, ids in enumerate(
            [*(one.preferred_ids for one in pairs.rows), *(one.rejected_ids for one in pairs.rows)]
        ):
            assert batch["input_ids"][row].tolist() == ids.tolist() + [7] * (width - len(ids))
            assert batch["attention_mask"][row].sum() == len(ids)
        assert "reference" not in batch

    def test_references_are_in_the_order_of_the_rows(self, read: Read):
        pairs = read(*COLOUR_PAIRS[:3])
        batch = PairPadding(0)(rows(pairs, references(pairs)))
        assert batch["reference"].tolist() == [0, 1, 2, 0, -1, -2]

    def test_a_data_set_has_the_same_rows(self, read: Read):
        pairs = read(*COLOUR_PAIRS)
        from_dataset = PairPadding(0)([to_dataset(pairs, references(pairs))[index] for index in (3, 5)])
        in_memory = PairPadding(0)([rows(pairs, references(pairs))[index] for index in (3, 5)])
        assert all(from_dataset[name].equal(in_memory[name]) for name in in_memory)
        assert from_dataset.keys() == in_memory.keys()
