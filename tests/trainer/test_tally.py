from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import torch

from trainer.tally import Sums, Tally

pytestmark = pytest.mark.train


class TestTally:
    def test_adds_up_and_starts_again(self):
        tally = Tally()
        for _ in range(2):
            outputs = SimpleNamespace(
                log_probs=torch.tensor([[-1.0, -2.0, 0.0]]),
                is_top1=torch.tensor([[True, False, False]]),
                label_mask=torch.tensor([[True, True, False]]),
            )
            tally.add(outputs, torch.tensor([[1, 1, 1, 0]]))
        sums = tally.read()
        assert sums == Sums(nll=6.0, correct=2.0, labels=4.0, tokens=6.0)
        assert (sums.loss, sums.accuracy) == (1.5, 0.5)
        assert tally.read() == Sums()


class TestSums:
    def test_are_weighted_by_tokens(self):
        assert (Sums(nll=1.0, labels=1.0) + Sums(nll=9.0, labels=9.0)).loss == 1.0
        assert (Sums(nll=3.0, labels=1.0) + Sums(nll=9.0, labels=9.0)).loss == 1.2

    def test_of_nothing_are_zero(self):
        assert (Sums().loss, Sums().accuracy) == (0.0, 0.0)
