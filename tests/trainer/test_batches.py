import numpy as np
import pytest

pytest.importorskip("torch")

from trainer.batches import ByLength, Padding, ValidationBatches, rows, to_dataset
from trainer.labels import IGNORED, Labelled

pytestmark = pytest.mark.train


def labelled(*lengths: int) -> Labelled:
    """Example i is i, repeated."""
    rows = [np.full(length, index, dtype=np.int32) for index, length in enumerate(lengths)]
    return Labelled(input_ids=rows, labels=[row + 100 for row in rows])


class TestPadding:
    def test_pads_on_the_right(self):
        batch = Padding(7)([{"input_ids": [1, 2, 3], "labels": [IGNORED, 2, 3]}, {"input_ids": [4], "labels": [4]}])
        assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 7, 7]]
        assert batch["labels"].tolist() == [[IGNORED, 2, 3], [4, IGNORED, IGNORED]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


class TestToDataset:
    def test_has_a_row_for_each_example(self):
        dataset = to_dataset(labelled(2, 3))
        assert [row["input_ids"].tolist() for row in dataset] == [[0, 0], [1, 1, 1]]
        assert [row["labels"].tolist() for row in dataset] == [[100, 100], [101, 101, 101]]


class TestByLength:
    LENGTHS = [int(length) for length in np.random.default_rng(0).integers(1, 500, 203)]

    def order(self, epoch: int = 0, seed: int = 0) -> list[int]:
        sampler = ByLength(self.LENGTHS, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    def test_has_each_example_once(self):
        assert sorted(self.order()) == list(range(203))

    def test_depends_on_the_seed_and_the_epoch_alone(self):
        assert self.order(3) == self.order(3)
        assert self.order(3) != self.order(4)
        assert self.order(3) != self.order(3, seed=1)

    def test_pads_little(self):
        def padded(order: list[int]) -> int:
            batches = [order[start : start + 4] for start in range(0, len(order), 4)]
            return sum(len(batch) * max(self.LENGTHS[index] for index in batch) for batch in batches)

        assert padded(self.order()) < 1.2 * sum(self.LENGTHS)
        assert padded(list(range(203))) > 1.5 * sum(self.LENGTHS)

    def test_mixes_short_and_long_batches(self):
        order = self.order()
        longest = [max(self.LENGTHS[index] for index in order[start : start + 4]) for start in range(0, 32, 4)]
        assert longest != sorted(longest)


class TestValidationBatches:
    def batches(self) -> ValidationBatches:
        examples = labelled(5, 1, 3)
        return ValidationBatches(rows(examples), examples.lengths, Padding(0), batch_size=2, micro_batch=2)

    def test_everything_is_sorted_by_length(self):
        assert [batch["attention_mask"].sum(1).tolist() for batch in self.batches().everything()] == [[1, 3], [5]]

    def test_one_goes_round(self):
        (first,), (second,) = self.batches().one(0), self.batches().one(1)
        assert first["attention_mask"].sum(1).tolist() == [5, 1]
        assert second["attention_mask"].sum(1).tolist() == [3, 5]
